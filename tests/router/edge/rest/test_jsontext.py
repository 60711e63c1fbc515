import math

import pytest

from router.edge.rest.jsontext import parse
from serving.errors import InvalidRequest


def test_plain_json_is_parsed() -> None:
    """The common case."""
    assert parse(b'{"a": [1, 2.5, "x", null, true]}', 4) == {"a": [1, 2.5, "x", None, True]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": [1,}', "malformed JSON at line 1, column 10"),
        (b'{\n "a" 1}', "malformed JSON at line 2, column"),
        (b'{"a": 1', "malformed JSON"),
        (b'{"a": 1}{', "malformed JSON"),
        (b"  ", "is empty"),
        (b'{"a": "\xff"}', "invalid UTF-8 at byte 7"),
        (b'{"a": NaN, "b": "\xff"}', "invalid UTF-8 at byte 17"),
        (b'{"a": NaN,}', "malformed JSON"),
        (b'{"a": "\\ud800"}', "malformed JSON"),
        (b'{"a": "\\ud800", "b": NaN}', "cannot be represented"),
        (b'{"a": NaN, "b": ' + b"9" * 5000 + b"}", "cannot be represented"),
    ],
)
def test_malformed_text_is_refused_with_its_place(text: bytes, message: str) -> None:
    """Line and column, or the byte, so that a person can find it."""
    with pytest.raises(InvalidRequest, match=message):
        parse(text, 32)


def test_not_a_number_is_accepted() -> None:
    """tritonclient writes NaN and Infinity, though JSON has no such words."""
    values = parse(b"[NaN, Infinity, -Infinity, 1]", 4)
    assert isinstance(values, list)
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1]


@pytest.mark.parametrize("depth", [1, 3, 32])
def test_depth_is_limited_exactly(depth: int) -> None:
    """At the limit it parses; one deeper it is refused, naming the setting."""
    assert parse(b"[" * depth + b"]" * depth, depth) is not None
    with pytest.raises(InvalidRequest, match=f"router.limits.max_json_depth is {depth}"):
        parse(b"[" * (depth + 1) + b"]" * (depth + 1), depth)


def test_depth_counts_nesting_and_not_brackets() -> None:
    """Many shallow lists are no deeper than one, and brackets in texts are text."""
    assert parse(b"[" + b",".join([b"[1]"] * 100) + b"]", 2) == [[1]] * 100
    assert parse(b'["' + b"[{" * 50 + b'\\"[[[", [1]]', 2) == ["[{" * 50 + '"[[[', [1]]


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b'["' * 50_000])
def test_a_bomb_of_brackets_is_refused(text: bytes) -> None:
    """Neither the stack nor the time of the server is at risk."""
    with pytest.raises(InvalidRequest):
        parse(text, 32)
