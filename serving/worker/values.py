"""Checks of the values of one input, where model.yaml or the datatype asks for any."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidRequest
from serving.shared_memory.regions import Span
from serving.spec import TensorSpec
from serving.worker.request import Part

_FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
_SQUARED = frozenset({"FP32", "FP64"})
"""Of few values the sum of squares is NaN if and only if one of them is, infinite ones or not, and found in a third of
the time: squares are never negative, so no difference of infinities comes about."""
_FEW = 1024  # of more, isnan is as fast; and a BLAS may use threads


def needs_check(spec: TensorSpec, text: bool) -> bool:
    """Whether any value of this input can be refused. `text`: its elements must be UTF-8."""
    return text or spec.datatype == "BOOL" or (not spec.allow_nan and spec.datatype in _FLOATS)


def check_values(part: Part, spec: TensorSpec, shape: Sequence[int], field: str, *, text: bool) -> None:
    """Raises InvalidRequest naming the element: NaN where refused, BOOL other than 0 and 1, text that is not UTF-8."""
    if not isinstance(part, bytes | memoryview):
        if text and not isinstance(part, Span):
            _check_text(part, spec, shape, field)
        return
    if spec.datatype == "BOOL":
        if bytes(part).strip(b"\x00\x01"):
            _refuse_bool(part, shape, field)
        return
    values = np.frombuffer(part, spec.dtype)
    if spec.datatype in _SQUARED and values.size <= _FEW and not isnan(np.vdot(values, values)):
        return
    nan = _is_nan(values, spec)
    if nan.any():
        place = int(np.argmax(nan))
        raise InvalidRequest(
            f"NaN in {_place(place, spec, shape)} of {spec.name!r}",
            field=field,
            remedy="send a number, or set allow_nan: true for this input in model.yaml",
        )


def _is_nan(values: NDArray[Any], spec: TensorSpec) -> NDArray[np.bool_]:
    if spec.datatype == "BF16":
        return (values & 0x7FFF) > 0x7F80
    nan: NDArray[np.bool_] = np.isnan(values)
    return nan


def _refuse_bool(part: bytes | memoryview, shape: Sequence[int], field: str) -> None:
    values = np.frombuffer(part, np.uint8)
    place = int(np.argmax(values > 1))
    if values[place] > 1:
        raise InvalidRequest(
            f"byte {values[place]} at element {place} of a BOOL tensor of shape {list(shape)}",
            field=field,
            remedy="send 0 or 1",
        )


def _check_text(part: NDArray[Any], spec: TensorSpec, shape: Sequence[int], field: str) -> None:
    for place, element in enumerate(part.ravel().tolist()):
        try:
            element.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(
                f"{_place(place, spec, shape)} of {spec.name!r} is not UTF-8",
                field=field,
                remedy="encode texts as UTF-8",
            ) from None


def _place(place: int, spec: TensorSpec, shape: Sequence[int]) -> str:
    """Row and column of a flat index, in the caller's words."""
    where = [int(index) for index in np.unravel_index(place, shape)] if shape else []
    if not where:
        return "the value"
    last = spec.columns[where[-1]] if len(spec.columns) > where[-1] and len(where) > 1 else None
    tail = f", column {last!r}" if last is not None else f", element {where[1:]}" if len(where) > 1 else ""
    return f"row {where[0]}{tail}"
