"""Tensors on the wire: raw little-endian bytes and typed contents of the Open Inference Protocol, to and from NumPy.

BYTES elements are `bytes` in object arrays; raw, each is a 4-byte little-endian length and the bytes. BF16 and FP16
exist raw only; BF16 arrays are the uint16 bit patterns.
"""

from collections.abc import Sequence
from math import prod
from struct import Struct
from struct import error as StructFormatError
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protos import inference_pb2
from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES

Array = NDArray[Any]

_LENGTH: Final = Struct("<I")
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def dtype_of(datatype: str, field: str) -> np.dtype[Any]:
    """NumPy dtype of a protocol datatype. Raises InvalidRequest naming `field`."""
    dtype = NUMPY_DTYPES.get(datatype)
    if dtype is None:
        raise InvalidRequest(
            f"unknown datatype {datatype!r}", field=f"{field}.datatype", remedy=f"use one of {', '.join(NUMPY_DTYPES)}"
        )
    return dtype


def element_count(shape: Sequence[int], field: str) -> int:
    """Product of the extents. Raises InvalidRequest on a negative extent."""
    if any(extent < 0 for extent in shape):
        raise InvalidRequest(
            f"negative extent in {list(shape)}", field=f"{field}.shape", remedy="send the real extents"
        )
    return prod(shape)


def from_raw(raw: bytes, datatype: str, shape: Sequence[int], field: str) -> Array:
    """A read-only view of `raw` as an array of `shape`. Raises InvalidRequest if the lengths do not match."""
    dtype = dtype_of(datatype, field)
    count = element_count(shape, field)
    if datatype == "BYTES":
        return _bytes_from_raw(raw, count, field).reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise InvalidRequest(
            f"raw data has {len(raw)} bytes, shape {list(shape)} of {datatype} needs {count * dtype.itemsize}",
            field=field,
            remedy="send row-major little-endian bytes that fill the shape exactly",
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def _bytes_from_raw(raw: bytes, count: int, field: str) -> Array:
    elements = []
    position, size = 0, len(raw)
    try:
        while position < size:
            (length,) = _LENGTH.unpack_from(raw, position)
            position += 4 + length
            elements.append(raw[position - length : position])
    except StructFormatError:
        position = -1
    if position != size or len(elements) != count:
        raise InvalidRequest(
            f"raw BYTES data does not hold exactly {count} elements",
            field=field,
            remedy="send each element as a 4-byte little-endian length followed by its bytes",
        )
    array = np.empty(count, dtype=object)
    array[:] = elements
    return array


def to_raw(array: Array) -> bytes:
    """Raw form of an array; strings become UTF-8."""
    if array.dtype.kind not in "OSU":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    elements = [_as_bytes(element) for element in array.ravel().tolist()]
    return b"".join([part for element in elements for part in (_LENGTH.pack(len(element)), element)])


def _as_bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def from_contents(tensor: inference_pb2.ModelInferRequest.InferInputTensor, field: str) -> Array:
    """The typed contents of an input. Raises InvalidRequest: wrong field, count or range."""
    dtype = dtype_of(tensor.datatype, field)
    name = _CONTENTS.get(tensor.datatype)
    if name is None:
        raise InvalidRequest(
            f"{tensor.datatype} has no typed contents", field=f"{field}.contents", remedy="send raw_input_contents"
        )
    set_fields = [entry.name for entry, _ in tensor.contents.ListFields()]
    if any(entry != name for entry in set_fields):
        raise InvalidRequest(
            f"{', '.join(set_fields)} set, but datatype is {tensor.datatype}",
            field=f"{field}.contents",
            remedy=f"set {name} only",
        )
    values = getattr(tensor.contents, name)
    count = element_count(tensor.shape, field)
    if len(values) != count:
        raise InvalidRequest(
            f"{name} has {len(values)} elements, shape {list(tensor.shape)} needs {count}",
            field=f"{field}.contents",
            remedy="send exactly one element per position",
        )
    return from_list(list(values), dtype, field).reshape(tuple(tensor.shape))


def from_list(values: Sequence[Any], dtype: np.dtype[Any], field: str) -> Array:
    """A flat array of plain values. Raises InvalidRequest if one does not fit the dtype."""
    if dtype.kind == "O":
        array = np.empty(len(values), dtype=object)
        array[:] = [_as_bytes(value) for value in values]
        return array
    try:
        return np.array(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(
            f"a value does not fit {dtype.name}: {error}", field=field, remedy=f"send values of {dtype.name}"
        ) from None


def shape_matches(shape: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether every extent equals the expected one, -1 standing for any."""
    return len(shape) == len(expected) and all(
        want in (-1, extent) for extent, want in zip(shape, expected, strict=True)
    )
