"""Make one value fit one tensor of a model: the dtype it wants, and the dimension a caller left out.

NumPy makes float64 of every list and int64 of every count, models take FP32 and INT32; so values are converted, but
only where nothing is lost but float precision: a fraction never becomes an integer and a number never wraps.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES, TensorSpec
from serving.tensors import Array, shape_matches

_SCALARS: Final = (str, bytes, bool, int, float, np.generic)


def as_dtype(value: Any, tensor: TensorSpec, field: str) -> Array:
    """`value` (array-like) as an array of the tensor's dtype. Raises InvalidRequest naming `field`."""
    if tensor.datatype == "BYTES":
        return _as_text(value, field)
    if tensor.datatype not in NUMPY_DTYPES:
        raise InvalidRequest(f"unknown datatype {tensor.datatype!r}", field=field, remedy="update this client")
    try:
        array = np.asarray(value)
        if array.dtype.kind in "OUS":
            array = _from_objects(array, tensor.dtype)
    except (TypeError, ValueError) as error:
        raise _misfit(str(error), tensor, field) from None
    return _cast(array, tensor, field)


def _cast(array: Array, tensor: TensorSpec, field: str) -> Array:
    dtype = tensor.dtype
    if array.dtype == dtype:
        return array
    if array.size == 0 and array.dtype.kind == "f":  # np.asarray([]) is float64 whatever it was meant to be
        return array.astype(dtype)
    if dtype.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise _misfit(f"a value is outside {limits.min}..{limits.max}", tensor, field)
        return array.astype(dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise _misfit(f"{array.dtype} would lose what it means", tensor, field)
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise _misfit("a value is too large", tensor, field) from None


def _from_objects(array: Array, dtype: np.dtype[Any]) -> Array:
    """Objects (a data frame's columns, None for a missing number) as numbers; texts are refused, not parsed."""
    elements = array.ravel().tolist()
    if any(isinstance(element, str | bytes) for element in elements):
        raise ValueError("text where numbers are expected")
    if dtype.kind == "f":
        return np.array([np.nan if element is None else element for element in elements], dtype).reshape(array.shape)
    return np.array(elements).reshape(array.shape)


def _as_text(value: Any, field: str) -> Array:
    # dtype=object, because NumPy's own string dtypes cut trailing NULs off.
    array = np.array(value, dtype=object)
    for element in array.ravel().tolist():
        if not isinstance(element, _SCALARS):
            raise InvalidRequest(
                f"{type(element).__name__} where text or bytes is expected", field=field, remedy="send str or bytes"
            )
    return array


def _misfit(reason: str, tensor: TensorSpec, field: str) -> InvalidRequest:
    return InvalidRequest(f"does not fit {tensor.datatype}: {reason}", field=field, remedy=f"send {tensor}")


def as_shape(array: Array, wire_shape: Sequence[int], *, batched: bool, field: str, rows: int | None = None) -> Array:
    """`array` in a shape that matches `wire_shape`: a missing batch dimension is put in front (one row), a missing
    last dimension of one behind (one value a row), a scalar fills all. `rows`, where known, is the first extent of a
    batched tensor. Raises InvalidRequest."""
    if batched and rows is not None:
        wire_shape = (rows, *wire_shape[1:])
    for candidate in _candidates(array, len(wire_shape), batched):
        if shape_matches(candidate, wire_shape):
            return array.reshape(candidate)
    raise InvalidRequest(
        f"shape {list(array.shape)} does not fit {list(wire_shape)}",
        field=field,
        remedy=f"send {len(wire_shape)} dimensions{', the first is the rows' if batched else ''}; -1 = any extent",
    )


def _candidates(array: Array, dimensions: int, batched: bool) -> list[tuple[int, ...]]:
    shape = array.shape
    found = [shape]
    if array.ndim == 0:
        found.append((1,) * dimensions)
    elif array.ndim == dimensions - 1:
        if batched:
            found.append((1, *shape))
        found.append((*shape, 1))
    elif array.ndim == dimensions + 1:
        if shape[-1] == 1:
            found.append(shape[:-1])
        if shape[0] == 1 and not batched:
            found.append(shape[1:])
    return found
