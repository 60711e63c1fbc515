from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, lists

from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES, TensorSpec
from serving.worker.values import check_values, needs_check
from tests.serving.worker.requests import texts


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (TensorSpec("x", "FP32", ()), False, False),
        (TensorSpec("x", "FP32", (), allow_nan=False), False, True),
        (TensorSpec("x", "INT64", (), allow_nan=False), False, False),
        (TensorSpec("x", "BOOL", ()), False, True),
        (TensorSpec("x", "BYTES", ()), False, False),
        (TensorSpec("x", "BYTES", ()), True, True),
    ],
)
def test_only_what_can_be_refused_is_looked_at(spec: TensorSpec, text: bool, expected: bool) -> None:
    """Most inputs cost no look at their values."""
    assert needs_check(spec, text) is expected


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_nan_is_found_in_every_float(datatype: str) -> None:
    """Also in BF16, whose patterns NumPy does not know; infinity is a number."""
    spec = TensorSpec("x", datatype, (2,), allow_nan=False)
    one, infinity, nan = (0x3F80, 0x7F80, 0x7FC0) if datatype == "BF16" else (1.0, np.inf, np.nan)
    dtype = NUMPY_DTYPES[datatype]
    check_values(np.array([[one, infinity]], dtype).tobytes(), spec, (1, 2), "f", text=False)
    with pytest.raises(InvalidRequest, match=r"^f: NaN in row 1, element \[0\] of 'x'; send a number"):
        check_values(np.array([[one, one], [nan, one]], dtype).tobytes(), spec, (2, 2), "f", text=False)


@given(lists(floats(width=32), min_size=1, max_size=40), booleans())
def test_nan_is_found_among_any_numbers(numbers: list[float], doubles: bool) -> None:
    """Largest, infinite and tiny ones too, whose squares are no numbers of that width any more."""
    datatype = "FP64" if doubles else "FP32"
    spec = TensorSpec("x", datatype, (), allow_nan=False)
    part = np.array(numbers, NUMPY_DTYPES[datatype]).tobytes()
    refused = False
    try:
        check_values(part, spec, (len(numbers),), "f", text=False)
    except InvalidRequest:
        refused = True
    assert refused == any(map(isnan, numbers))


def test_a_bool_is_zero_or_one() -> None:
    """Other bytes are refused, with where they are."""
    spec = TensorSpec("x", "BOOL", ())
    check_values(b"\x00\x01\x01", spec, (3,), "f", text=False)
    for part, place in ((b"\x00\x02\x01", 1), (b"\xff", 0), (b"\x01\x00\x03", 2)):
        with pytest.raises(
            InvalidRequest, match=f"byte {part[place]} at element {place} of a BOOL tensor.*send 0 or 1"
        ):
            check_values(part, spec, (len(part),), "f", text=False)


def test_texts_are_checked_only_where_text_is_needed() -> None:
    """Bytes that are no text pass to a model that takes bytes."""
    spec = TensorSpec("t", "BYTES", ())
    check_values(texts(b"\xff"), spec, (1,), "f", text=False)
    with pytest.raises(InvalidRequest, match="row 0 of 't' is not UTF-8"):
        check_values(texts(b"\xff"), spec, (1,), "f", text=True)
    with pytest.raises(InvalidRequest, match="the value of 't' is not UTF-8"):
        check_values(texts(b"\xff"), spec, (), "f", text=True)
