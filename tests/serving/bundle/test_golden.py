import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.bundle.golden import Golden, Tolerance, _read_apart, default_tolerance, read_golden
from serving.bundle.golden_file import write_golden
from serving.errors import BundleError
from serving.spec import NUMPY_DTYPES

NUMBERS = sorted(set(NUMPY_DTYPES) - {"BYTES", "BF16"})


def texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def round_trip(folder: Path, golden: Golden) -> Golden:
    write_golden(folder / "golden.parquet", golden)
    read = read_golden(folder)
    assert read is not None
    return read


@pytest.mark.parametrize("datatype", NUMBERS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_every_number_survives_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, datatype: str, data: st.DataObject
) -> None:
    """Any values of any datatype, NaN, infinities and empty tensors among them, come back as they went."""
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    array = data.draw(hnp.arrays(NUMPY_DTYPES[datatype], (2, *shape)))
    read = round_trip(tmp_path_factory.mktemp("golden"), Golden({"x": array}, {"y": array}))
    for got in (read.inputs["x"], read.expected["y"]):
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_texts_survive_with_empty_and_binary_ones(tmp_path: Path) -> None:
    """BYTES keep every byte; strings become UTF-8."""
    read = round_trip(tmp_path, Golden({"x": texts(b"", b"\xff\0")}, {"y": np.array([["a", "é"], ["c", "d"]])}))
    assert read.inputs["x"].tolist() == [b"", b"\xff\0"]
    assert read.expected["y"].tolist() == [[b"a", "é".encode()], [b"c", b"d"]]


def test_bf16_patterns_survive_with_their_datatype(tmp_path: Path) -> None:
    """BF16 has no dtype of its own: the patterns and the name both come back."""
    patterns = np.array([[0x3F80], [0x4000]], dtype=np.uint16)
    read = round_trip(tmp_path, Golden({"x": patterns}, {"y": patterns}, datatypes={"x": "BF16", "y": "BF16"}))
    assert read.datatype("x", read.inputs["x"]) == "BF16"
    np.testing.assert_array_equal(read.expected["y"], patterns)


def test_the_same_name_may_go_in_and_out(tmp_path: Path) -> None:
    """Inputs and outputs have columns of their own, readable by any Parquet tool."""
    round_trip(tmp_path, Golden({"x": np.zeros((2, 3), "<f4")}, {"x": np.ones((2, 1), "<i8")}))
    table = pq.read_table(tmp_path / "golden.parquet")
    assert table.column_names == ["input.x", "output.x"]
    assert table.column("output.x").to_pylist() == [[1], [1]]


def test_tolerances_are_kept_and_have_defaults(tmp_path: Path) -> None:
    """What was given is kept; floats get a margin for other processors, all else none."""
    outputs = {"y": np.zeros(1, "<f4"), "n": np.zeros(1, "<i8")}
    read = round_trip(tmp_path, Golden({"x": np.zeros(1)}, outputs, {"y": Tolerance(atol=0.5)}))
    assert read.tolerance_of("y") == Tolerance(atol=0.5, rtol=0)
    assert read.tolerance_of("n") == Tolerance()
    assert default_tolerance("FP32").rtol > 0
    assert default_tolerance("BYTES") == default_tolerance("BOOL") == Tolerance()


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [({"x": np.zeros((2, 1))}, {"y": np.zeros((3, 1))}), ({"x": np.zeros((0, 1))}, {"y": np.zeros((0, 1))}), ({}, {})],
)
def test_examples_must_be_as_many_everywhere(
    tmp_path: Path, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    """None, or a different number per tensor, is refused."""
    with pytest.raises(BundleError, match="examples, as many in every tensor"):
        write_golden(tmp_path / "golden.parquet", Golden(inputs, expected))


def test_no_file_is_no_examples(tmp_path: Path) -> None:
    """Golden examples are optional."""
    assert read_golden(tmp_path) is None


def test_files_that_are_no_golden_examples_are_refused(tmp_path: Path) -> None:
    """Noise, a foreign Parquet file, and one whose column does not hold what its header says."""
    path = tmp_path / "golden.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(BundleError, match="is no file of golden examples"):
        read_golden(tmp_path)
    pq.write_table(pa.table({"input.x": [[1.0]]}), path)
    with pytest.raises(BundleError, match="is no file of golden examples"):
        read_golden(tmp_path)
    write_golden(path, Golden({"x": np.zeros((2, 2))}, {"y": np.zeros(2)}))
    metadata = pq.read_schema(path).metadata
    wrong = pa.table({"input.x": [[1.0], [1.0, 2.0, 3.0, 4.0]], "output.y": [[0.0], [0.0]]})
    pq.write_table(wrong.replace_schema_metadata(metadata), path)
    with pytest.raises(BundleError, match=r"column input\.x is not FP64\[2\] in every row"):
        read_golden(tmp_path)
    pq.write_table(wrong.drop_columns(["input.x"]).replace_schema_metadata(metadata), path)
    with pytest.raises(BundleError, match=r"column input\.x"):
        read_golden(tmp_path)
    strange = pa.table({"input.x": [[None, 1.0], [1.0, 1.0]], "output.y": [[0.0], [0.0]]})
    pq.write_table(strange.replace_schema_metadata(metadata), path)
    with pytest.raises(BundleError, match=r"column input\.x"):
        read_golden(tmp_path)
    strange = pa.table({"input.x": [["a", "b"], ["c", "d"]], "output.y": [[0.0], [0.0]]})
    pq.write_table(strange.replace_schema_metadata(metadata), path)
    with pytest.raises(BundleError, match=r"column input\.x"):
        read_golden(tmp_path)


ALL_KINDS = {
    "x": np.ones((3, 2), np.float32),
    "b": np.array([True, False, True]),
    "t": np.array([b"a", b"", b"c"], "O"),
}
READ = (
    "import sys, pathlib; from serving.bundle.golden import read_golden;"
    " golden = read_golden(pathlib.Path(sys.argv[1]));"
    " print({name: array.tolist() for name, array in golden.inputs.items()}, golden.tolerance_of('y'));"
    " print([name for name in ('pandas', 'pyarrow') if name in sys.modules])"
)


def test_a_worker_reads_apart_and_keeps_neither_arrow_nor_pandas(tmp_path: Path) -> None:
    """They would stay with it for good, 55 MB; what it gets is the same."""
    golden = Golden(ALL_KINDS, {"y": np.arange(3.0)}, {"y": Tolerance(atol=0.25)})
    write_golden(tmp_path / "golden.parquet", golden)
    found = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=True)
    here = {name: array.tolist() for name, array in ALL_KINDS.items()}
    assert found.stdout.splitlines() == [f"{here} {Tolerance(atol=0.25)}", "[]"]


def test_a_damaged_file_is_refused_alike_from_apart(tmp_path: Path) -> None:
    """The reason crosses the process with its field and remedy."""
    (tmp_path / "golden.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BundleError) as here:
        read_golden(tmp_path)
    found = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.stderr.splitlines()[-1] == f"serving.errors.BundleError: {here.value}"


def test_a_reader_that_dies_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an endless wait, and no examples that were not read."""
    write_golden(tmp_path / "golden.parquet", Golden(ALL_KINDS, {"y": np.arange(3)}))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BundleError, match=r"golden.parquet: cannot be read: .*exit status 1"):
        _read_apart(tmp_path / "golden.parquet")
