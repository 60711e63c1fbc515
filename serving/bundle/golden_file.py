"""golden.parquet, written and read.

One column a tensor, one row an example; each cell is the row's elements as a list, in row-major order. Names, datatypes
and shapes are in the schema's metadata, so the file opens in any Parquet reader and loses nothing: FP16 is kept as
32-bit floats, BF16 as its 16-bit patterns, BYTES as binary.

`python -m serving.bundle.golden_file PATH` writes what it reads, or why it cannot, pickled to standard output.
"""

import pickle
import sys
from math import prod
from pathlib import Path
from typing import Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from serving.bundle.definition import TensorDefinition
from serving.bundle.golden import Array, Golden, Tolerance
from serving.bundle.layout import GOLDEN_FILE
from serving.errors import BundleError
from serving.settings import Settings, validate
from serving.spec import NUMPY_DTYPES
from serving.tensors import from_list

MAX_GOLDEN_ROWS: Final = 10_000
_METADATA: Final = b"dodona.golden"
_REMEDY: Final = "publish again with dodona pack"
# Arrow's types of list elements; FP16 and BOOL differ from NumPy's in memory.
_ELEMENTS: Final = {
    **{name: pa.from_numpy_dtype(dtype) for name, dtype in NUMPY_DTYPES.items() if name != "BYTES"},
    "FP16": pa.float32(),
    "BYTES": pa.binary(),
}


class _Column(Settings):
    role: Literal["input", "output"]
    tensor: TensorDefinition

    @property
    def title(self) -> str:
        return f"{self.role}.{self.tensor.name}"


class _Header(Settings):
    format_version: Literal[1] = 1
    columns: tuple[_Column, ...]
    tolerance: dict[str, Tolerance]


def write_golden(path: Path, golden: Golden) -> None:
    """Raises BundleError: no examples or too many, or tensors of different lengths."""
    columns, arrays = [], []
    for role, tensors in (("input", golden.inputs), ("output", golden.expected)):
        for name, array in tensors.items():
            definition = TensorDefinition(name=name, datatype=golden.datatype(name, array), shape=array.shape[1:])
            columns.append(_Column(role=role, tensor=definition))
            arrays.append(_to_arrow(array, definition.datatype))
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or not 0 < max(lengths) <= MAX_GOLDEN_ROWS:
        raise BundleError(
            f"need 1 to {MAX_GOLDEN_ROWS} examples, as many in every tensor; got {sorted(lengths)}", field=GOLDEN_FILE
        )
    tolerance = {name: golden.tolerance_of(name) for name in golden.expected}
    header = _Header(columns=tuple(columns), tolerance=tolerance).model_dump(mode="json")
    schema = pa.schema(
        [pa.field(column.title, array.type) for column, array in zip(columns, arrays, strict=True)],
        metadata={_METADATA: orjson.dumps(header)},
    )
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def _to_arrow(array: Array, datatype: str) -> pa.Array:
    rows, width = len(array), prod(array.shape[1:])
    if rows * width >= 2**31:
        raise BundleError(f"{array.size} elements are too many", field=GOLDEN_FILE, remedy="give fewer examples")
    element = _ELEMENTS[datatype]
    flat = array.reshape(-1)
    if datatype == "BYTES":
        values = pa.array(from_list(flat.tolist(), NUMPY_DTYPES["BYTES"], GOLDEN_FILE), element)
    else:
        stored = flat.astype(np.float32) if datatype == "FP16" else flat
        # from_pandas=False keeps NaN a value and not a null
        values = pa.array(stored.astype(stored.dtype.newbyteorder("=")), element, from_pandas=False)
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, values)


def read_golden_file(path: Path) -> Golden:
    """Raises BundleError if the file is not as written here."""
    try:
        with pq.ParquetFile(path) as file:  # read_table would import pandas: 30 MB, half a second
            table = file.read(use_threads=False)
        values = orjson.loads((table.schema.metadata or {})[_METADATA])
    except (pa.ArrowException, OSError, KeyError, orjson.JSONDecodeError) as error:
        raise BundleError(
            f"is no file of golden examples ({type(error).__name__})", field=GOLDEN_FILE, remedy=_REMEDY
        ) from error
    header = validate(_Header, values, where=GOLDEN_FILE, error=BundleError)
    tensors: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
    for column in header.columns:
        tensors[column.role][column.tensor.name] = _from_arrow(table, column)
    datatypes = {column.tensor.name: "BF16" for column in header.columns if column.tensor.datatype == "BF16"}
    return Golden(tensors["input"], tensors["output"], header.tolerance, datatypes)


def _from_arrow(table: pa.Table, column: _Column) -> Array:
    tensor = column.tensor
    try:
        flat = table.column(column.title).combine_chunks().flatten()
        values = _elements(flat).astype(NUMPY_DTYPES[tensor.datatype])
        shaped: Array = values.reshape(table.num_rows, *tensor.shape)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise BundleError(
            f"column {column.title} is not {tensor.datatype}{list(tensor.shape)} in every row",
            field=GOLDEN_FILE,
            remedy=_REMEDY,
        ) from error
    return shaped


def _elements(flat: pa.Array) -> Array:
    """As `flat.to_numpy`, which would import pandas. Raises ValueError for nulls."""
    if flat.null_count:
        raise ValueError("nulls")
    if pa.types.is_binary(flat.type):
        texts: Array = np.empty(len(flat), dtype=object)
        texts[:] = flat.to_pylist()
        return texts
    if pa.types.is_boolean(flat.type):
        bits = np.frombuffer(flat.buffers()[1], np.uint8)
        return np.unpackbits(bits, count=flat.offset + len(flat), bitorder="little")[flat.offset :].astype(bool)
    if not pa.types.is_primitive(flat.type):
        raise ValueError(f"elements of type {flat.type}")
    numbers: Array = np.from_dlpack(flat)
    return numbers


def _main(path: Path) -> None:
    try:
        answer: Golden | BundleError = read_golden_file(path)
    except BundleError as error:
        answer = error
    sys.stdout.buffer.write(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
