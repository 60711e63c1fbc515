"""Values of a JSON array to the raw bytes of a tensor, and back.

Types are checked strictly and by whole columns (`set(map(type, ...))` runs in C); only when something is wrong are the
elements looked at one by one, to say which. Floats accept integers, null (NaN) and the words "NaN", "Infinity" and
"-Infinity"; BYTES accept strings, and `{"b64": "..."}` for what is not text.
"""

import binascii
import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES
from serving.tensors import to_raw

_WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_FLOATS: Final = frozenset(("FP16", "FP32", "FP64", "BF16"))
_NUMBERS: Final[frozenset[type]] = frozenset((int, float))
_WHOLE: Final[dict[str, type]] = {"BOOL": bool}  # every other datatype that is no float takes int
# The `struct` codes of the datatypes: it refuses what is out of range, which NumPy wraps or makes infinite. BF16 goes
# by way of FP32.
_CODES: Final = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
    "BF16": "f",
}

# Names the element at an index, for errors: 3 -> "inputs[0].data[3]".
NameOf = Callable[[int], str]


def extents_of(values: Any) -> list[int]:
    """How a value is nested, judged by its first elements: [[1, 2, 3], ...] of two is [2, 3], a lone value []."""
    extents = []
    while type(values) is list:
        extents.append(len(values))
        values = values[0] if values else None
    return extents


def flatten(values: Any, shape: Sequence[int], field: str) -> list[Any]:
    """The elements of a list that is flat or nested, in row-major order; a lone value counts as one element.
    Raises InvalidRequest: ragged, nested in other extents than `shape`, or not as many elements as `shape` holds."""
    extents = [len(values)] if type(values) is list else []
    level = values if type(values) is list else [values]
    while level and type(level[0]) is list:
        if any(type(entry) is not list for entry in level) or len(set(map(len, level))) != 1:
            raise InvalidRequest("ragged nesting", field=field, remedy="send rows of equal length, or flat data")
        extents.append(len(level[0]))
        level = list(chain.from_iterable(level))
    if len(level) != prod(shape):
        raise InvalidRequest(
            f"has {len(level)} elements, shape {list(shape)} needs {prod(shape)}",
            field=field,
            remedy="send exactly one element per position",
        )
    if len(extents) == len(shape) and extents != list(shape):
        raise InvalidRequest(
            f"is nested as {extents}, shape says {list(shape)}", field=field, remedy="correct the shape or the nesting"
        )
    return level


def pack(values: list[Any], datatype: str, name_of: NameOf) -> bytes:
    """Raw little-endian bytes of a flat list. Raises InvalidRequest naming the first element that does not fit."""
    if datatype == "BYTES":
        return to_raw(_objects([_bytes(value, index, name_of) for index, value in enumerate(values)]))
    types = set(map(type, values))
    if datatype in _FLOATS:
        if not types <= _NUMBERS:
            values = [_number(value, datatype, index, name_of) for index, value in enumerate(values)]
    elif not types <= {_WHOLE.get(datatype, int)}:
        index = next(index for index, value in enumerate(values) if type(value) is not _WHOLE.get(datatype, int))
        raise _misfit(values[index], datatype, name_of(index))
    code = _CODES[datatype]
    try:
        raw = struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError):
        index = next(index for index, value in enumerate(values) if not _fits(value, code))
        raise _misfit(values[index], datatype, name_of(index)) from None
    return _bfloat16(raw, values, name_of) if datatype == "BF16" else raw


def numbers(datatype: str, count: int) -> tuple[struct.Struct, frozenset[type]]:
    """What packs so many values, and the types it may be given. Raises ValueError for datatypes that take more."""
    if datatype in ("BF16", "BYTES") or datatype not in _CODES:
        raise ValueError(f"{datatype} is not packed as it is")
    types = _NUMBERS if datatype in _FLOATS else frozenset((_WHOLE.get(datatype, int),))
    return struct.Struct(f"<{count}{_CODES[datatype]}"), types


def _fits(value: Any, code: str) -> bool:
    try:
        struct.pack(f"<{code}", value)
    except (struct.error, OverflowError):
        return False
    return True


def _number(value: Any, datatype: str, index: int, name_of: NameOf) -> float:
    if type(value) in _NUMBERS:
        return value  # type: ignore[no-any-return]
    if value is None:
        return _WORDS["NaN"]
    word = _WORDS.get(value) if isinstance(value, str) else None
    if word is None:
        raise _misfit(value, datatype, name_of(index))
    return word


def _bytes(value: Any, index: int, name_of: NameOf) -> bytes:
    try:
        if type(value) is str:
            return value.encode()
        if type(value) is dict and list(value) == ["b64"] and type(value["b64"]) is str:
            return b64decode(value["b64"], validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise InvalidRequest(
            f"is not encoded properly: {error}", field=name_of(index), remedy="send UTF-8 text or base64"
        ) from None
    raise _misfit(value, "BYTES", name_of(index))


def _misfit(value: Any, datatype: str, field: str) -> InvalidRequest:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    wanted = {"BOOL": "true or false", "BYTES": 'a string, or {"b64": "..."}'}.get(datatype, "a number in its range")
    if datatype in NUMPY_DTYPES and datatype not in _FLOATS and NUMPY_DTYPES[datatype].kind in "iu":
        bounds = np.iinfo(NUMPY_DTYPES[datatype])
        wanted = f"an integer from {bounds.min} to {bounds.max}"
    return InvalidRequest(f"{shown[:60]} is not {datatype}", field=field, remedy=f"send {wanted}")


def _bfloat16(raw: bytes, values: Sequence[float], name_of: NameOf) -> bytes:
    """The upper half of each float32, rounded to nearest even; NaN stays NaN."""
    bits = np.frombuffer(raw, "<u4")
    nan = np.isnan(bits.view(np.float32))
    upper = np.where(nan, 0x7FC0, (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    lost = np.isinf(widened(upper)) & ~np.isinf(bits.view(np.float32))
    if lost.any():
        index = int(lost.argmax())
        raise _misfit(values[index], "BF16", name_of(index))
    return upper.tobytes()


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """BF16 bit patterns as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _objects(elements: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def unpack(raw: bytes, datatype: str, field: str) -> NDArray[Any] | list[Any]:
    """Raw bytes to values that orjson writes as a flat array: an array, or a list for BYTES and where a float is
    infinite. NaN becomes null (orjson's doing). Raises InvalidRequest: BYTES that are not UTF-8."""
    if datatype == "BYTES":
        return _strings(raw, field)
    values: NDArray[Any] = np.frombuffer(raw, NUMPY_DTYPES[datatype])
    if datatype == "BF16":
        values = widened(values)
    if datatype in _FLOATS and np.isinf(values).any():
        return _worded(values)
    return values


def _worded(values: NDArray[Any]) -> list[Any]:
    """As orjson writes them (float32 in its shortest form), with words for what is infinite."""
    elements: list[Any] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    for index in np.flatnonzero(np.isinf(values)).tolist():
        elements[index] = "Infinity" if values[index] > 0 else "-Infinity"
    return elements


def _strings(raw: bytes, field: str) -> list[str]:
    elements: list[str] = []
    position = 0
    try:
        while position < len(raw):
            start = position + 4
            position = start + int.from_bytes(raw[position:start], "little")
            elements.append(raw[start:position].decode())
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"element {len(elements)} is not UTF-8, so JSON cannot hold it",
            field=field,
            remedy="ask for it with the parameter binary_data: true",
        ) from None
    return elements
