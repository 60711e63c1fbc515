import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2
from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES
from serving.tensors import (
    dtype_of,
    element_count,
    from_contents,
    from_list,
    from_raw,
    shape_matches,
    to_raw,
)

Input = inference_pb2.ModelInferRequest.InferInputTensor
FIXED = [name for name in NUMPY_DTYPES if name != "BYTES"]


@pytest.mark.parametrize("datatype", FIXED)
def test_raw_and_back(datatype: str) -> None:
    """Every datatype of fixed size survives its raw form, in any byte order and layout."""
    array = np.arange(6).reshape(2, 3).astype(NUMPY_DTYPES[datatype])
    for laid_out in (array, array.astype(array.dtype.newbyteorder(">")), np.asfortranarray(array)):
        back = from_raw(to_raw(laid_out), datatype, (2, 3), "f")
        assert back.dtype == NUMPY_DTYPES[datatype]
        assert np.array_equal(back, array)


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_texts_raw_and_back(values: list[bytes]) -> None:
    """BYTES elements of any length survive, each behind its length."""
    array = np.empty(len(values), object)
    array[:] = values
    assert from_raw(to_raw(array), "BYTES", (len(values),), "f").tolist() == values


def test_strings_are_written_as_utf8() -> None:
    """A model may return str, NumPy strings or numbers among objects."""
    assert to_raw(np.array(["ü", "b"])) == b"\x02\0\0\0\xc3\xbc\x01\0\0\0b"
    assert to_raw(np.array([b"a", "b", 7], object)) == b"\x01\0\0\0a\x01\0\0\0b\x01\0\0\x007"


@given(st.binary(max_size=40), st.integers(0, 5))
def test_broken_texts_never_escape(raw: bytes, count: int) -> None:
    """Arbitrary bytes either hold exactly so many elements or are refused; nothing else is raised."""
    try:
        array = from_raw(raw, "BYTES", (count,), "f")
    except InvalidRequest:
        return
    assert to_raw(array) == raw
    assert len(array) == count


def test_raw_length_must_fit_the_shape() -> None:
    """The message says how many bytes came and how many the shape needs."""
    with pytest.raises(InvalidRequest, match=r"^f: raw data has 7 bytes, shape \[2\] of FP32 needs 8; send row-major"):
        from_raw(b"1234567", "FP32", (2,), "f")
    with pytest.raises(InvalidRequest, match="unknown datatype 'FLOAT'; use one of BOOL, UINT8"):
        from_raw(b"", "FLOAT", (0,), "f")


def test_raw_arrays_are_views() -> None:
    """Reading raw bytes copies nothing, so the array cannot be written to."""
    assert not from_raw(b"1234", "FP32", (1,), "f").flags.writeable


@pytest.mark.parametrize(
    ("datatype", "name", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, float("inf")]),
        ("FP64", "fp64_contents", [0.1, -0.1]),
        ("BYTES", "bytes_contents", [b"", b"\xff"]),
    ],
)
def test_typed_contents(datatype: str, name: str, values: list[object]) -> None:
    """Each datatype is read from its own field, with its own range."""
    tensor = Input(name="x", datatype=datatype, shape=[2])
    getattr(tensor.contents, name).extend(values)
    array = from_contents(tensor, "f")
    assert array.tolist() == values
    assert array.dtype == NUMPY_DTYPES[datatype]


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "text"),
    [
        ("INT8", [1], {"int_contents": [200]}, "a value does not fit int8"),
        ("UINT8", [1], {"uint_contents": [256]}, "a value does not fit uint8"),
        ("FP32", [2], {"fp32_contents": [1]}, r"contents: fp32_contents has 1 elements, shape \[2\] needs 2"),
        ("FP32", [1], {"int_contents": [1]}, "int_contents set, but datatype is FP32; set fp32_contents only"),
        ("FP32", [1], {"int_contents": [1], "fp32_contents": [1]}, "int_contents, fp32_contents set"),
        ("BF16", [1], {"fp32_contents": [1]}, "BF16 has no typed contents; send raw_input_contents"),
        ("FP32", [-1], {"fp32_contents": [1]}, r"shape: negative extent in \[-1\]; send the real extents"),
        ("nope", [1], {}, r"f.datatype: unknown datatype 'nope'"),
    ],
)
def test_wrong_contents(datatype: str, shape: list[int], contents: dict[str, list[int]], text: str) -> None:
    """Wrong field, count, range, shape and datatype each have their message."""
    tensor = Input(name="x", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    with pytest.raises(InvalidRequest, match=text):
        from_contents(tensor, "f")


def test_plain_lists() -> None:
    """JSON's values become arrays; what does not fit is refused by the field."""
    assert from_list([1, 2.5], np.dtype("<f4"), "f").tolist() == [1, 2.5]
    assert from_list(["a", b"b", 3], np.dtype(object), "f").tolist() == [b"a", b"b", b"3"]
    for values in (["x"], [None, {}], [[1], [2, 3]]):
        with pytest.raises(InvalidRequest, match=r"^f: a value does not fit float32"):
            from_list(values, np.dtype("<f4"), "f")


def test_small_questions() -> None:
    """Counts and matches."""
    assert (element_count((2, 3), "f"), element_count((), "f"), element_count((0, 9), "f")) == (6, 1, 0)
    assert shape_matches((5, 3), (-1, 3))
    assert not shape_matches((5, 3), (-1, 4))
    assert not shape_matches((5,), (-1, 3))
    assert dtype_of("INT64", "f") == np.int64
