import base64
import math
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.rest.elements import extents_of, flatten, pack, unpack
from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES

INTEGERS = [name for name, dtype in NUMPY_DTYPES.items() if dtype.kind in "iu" and name != "BF16"]


def name_of(index: int) -> str:
    return f"data[{index}]"


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([1, 2, 3, 4], [2, 2]),
        ([[1, 2], [3, 4]], [2, 2]),
        ([[1, 2], [3, 4]], [4]),
        ([[[1], [2]], [[3], [4]]], [4, 1]),
        ([[1, 2, 3, 4]], [2, 2, 1]),
    ],
)
def test_any_even_nesting_is_flattened(values: list[object], shape: list[int]) -> None:
    """Flat, nested like the shape, or nested otherwise with the right count."""
    assert flatten(values, shape, "data") == [1, 2, 3, 4]


def test_lone_and_absent_values() -> None:
    """A value that is no list is one element; an empty list fills an empty shape."""
    assert flatten(5, [1, 1], "data") == flatten(5, [], "data") == [5]
    assert flatten([], [0, 3], "data") == flatten([[], []], [2, 0], "data") == []


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ([1, 2, 3], [2, 2], r"data: has 3 elements, shape \[2, 2\] needs 4"),
        ([[1, 2], [3]], [3], "data: ragged nesting"),
        ([[1, 2], 3], [3], "data: ragged nesting"),
        ([["ab"], "cd"], [2], "data: ragged nesting"),
        ([[1, 2, 3], [4, 5, 6]], [3, 2], r"data: is nested as \[2, 3\], shape says \[3, 2\]"),
        ([], [1], "has 0 elements"),
    ],
)
def test_uneven_nesting_is_refused(values: object, shape: list[int], message: str) -> None:
    """Never guessed: ragged rows, wrong counts and contradicting extents are named."""
    with pytest.raises(InvalidRequest, match=message):
        flatten(values, shape, "data")


def test_extents_are_read_off_the_first_elements() -> None:
    """A lone value has none."""
    assert extents_of([[1, 2, 3], [4, 5, 6]]) == [2, 3]
    assert extents_of([]) == [0]
    assert extents_of("text") == []


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_keep_their_whole_range(datatype: str) -> None:
    """The bounds fit exactly; one beyond is refused by name and not wrapped."""
    bounds = np.iinfo(NUMPY_DTYPES[datatype])
    raw = pack([bounds.min, 0, bounds.max], datatype, name_of)
    assert np.frombuffer(raw, NUMPY_DTYPES[datatype]).tolist() == [bounds.min, 0, bounds.max]
    for value in (bounds.min - 1, bounds.max + 1):
        with pytest.raises(InvalidRequest, match=rf"data\[1\]: {value} is not {datatype}; send an integer from"):
            pack([0, value], datatype, name_of)


@pytest.mark.parametrize("value", [1.0, True, None, "1", [1], {"a": 1}])
def test_integers_are_not_guessed(value: object) -> None:
    """A float, a boolean, null or a text is not an integer, whatever Python thinks."""
    with pytest.raises(InvalidRequest, match=r"data\[2\]: "):
        pack([1, 2, value], "INT32", name_of)


def test_booleans_are_not_numbers() -> None:
    """true and false only, in either direction."""
    assert pack([True, False], "BOOL", name_of) == b"\x01\x00"
    with pytest.raises(InvalidRequest, match=r"data\[1\]: 1 is not BOOL; send true or false"):
        pack([True, 1], "BOOL", name_of)
    with pytest.raises(InvalidRequest, match=r"data\[0\]: true is not FP32"):
        pack([True], "FP32", name_of)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_floats_accept_integers_and_words(datatype: str) -> None:
    """null is NaN, and the words stand for what JSON cannot say; the reply uses the same."""
    raw = pack([1, -0.5, None, "NaN", "Infinity", "-Infinity"], datatype, name_of)
    assert orjson.loads(orjson.dumps(unpack(raw, datatype, "y"))) == [1.0, -0.5, None, None, "Infinity", "-Infinity"]
    finite = unpack(pack([1, None], datatype, name_of), datatype, "y")
    assert orjson.dumps(finite, option=orjson.OPT_SERIALIZE_NUMPY) == b"[1.0,null]"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("FP16", 70000), ("FP32", 1e39), ("BF16", 3.4e38), ("FP64", 10**400), ("FP32", -(10**400))],
)
def test_floats_out_of_range_are_refused(datatype: str, value: float) -> None:
    """A finite number never becomes infinite."""
    if datatype == "BF16":
        value = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]  # the largest float32 rounds up beyond BF16
    with pytest.raises(InvalidRequest, match=rf"data\[1\]: .* is not {datatype}"):
        pack([1.0, value], datatype, name_of)


@pytest.mark.parametrize("value", ["1.5", "nan", [1.0], {}])
def test_floats_are_not_read_from_texts(value: object) -> None:
    """Only the three words of the protobuf JSON form are numbers."""
    with pytest.raises(InvalidRequest, match=r"data\[0\]: "):
        pack([value], "FP32", name_of)


def test_brain_floats_round_to_nearest_even() -> None:
    """Half a unit goes to the even neighbour, and NaN stays NaN whatever its bits."""
    halfway = struct.unpack("<f", struct.pack("<I", 0x3F808000))[0]
    above = struct.unpack("<f", struct.pack("<I", 0x3F818000))[0]
    assert pack([1.0, halfway, above, float("nan")], "BF16", name_of) == struct.pack(
        "<4H", 0x3F80, 0x3F80, 0x3F82, 0x7FC0
    )


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_float32_survives_the_way_through_json(values: list[float]) -> None:
    """What is written as JSON is read back as the same bits."""
    raw = pack(values, "FP32", name_of)
    text = orjson.dumps(unpack(raw, "FP32", "y"), option=orjson.OPT_SERIALIZE_NUMPY)
    assert pack(orjson.loads(text), "FP32", name_of) == raw


@given(st.lists(st.text(max_size=20), max_size=10))
def test_texts_survive_the_way_through_raw(values: list[str]) -> None:
    """Any Unicode, empty texts too."""
    assert unpack(pack(values, "BYTES", name_of), "BYTES", "y") == values


def test_bytes_accept_base64() -> None:
    """TensorFlow Serving's way to send what is not text."""
    values = ["a", {"b64": base64.b64encode(b"\xff\x00").decode()}]
    assert pack(values, "BYTES", name_of) == b"\x01\0\0\0a\x02\0\0\0\xff\x00"


@pytest.mark.parametrize("value", [1, None, True, {"b64": "%%%"}, {"b64": 1}, {"b64": "", "x": 1}, "\ud800"])
def test_bytes_are_texts(value: object) -> None:
    """Numbers are not turned into texts, and bad base64 or Unicode is named."""
    with pytest.raises(InvalidRequest, match=r"data\[1\]: "):
        pack(["a", value], "BYTES", name_of)


def test_bytes_that_are_not_text_cannot_be_json() -> None:
    """The caller is told how to get them."""
    with pytest.raises(InvalidRequest, match=r"y: element 1 is not UTF-8.*binary_data: true"):
        unpack(b"\x01\0\0\0a\x01\0\0\0\xff", "BYTES", "y")


def test_doubles_are_exact() -> None:
    """FP64 keeps every bit."""
    values = [math.pi, 5e-324, -1.7976931348623157e308]
    assert np.frombuffer(pack(values, "FP64", name_of), "<f8").tolist() == values
