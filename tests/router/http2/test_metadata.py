"""gRPC's conventions for header values."""

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http2.errors import LocalError
from router.http2.metadata import check_name, percent_encode, read_entry, timeout_s, write_value
from serving.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"5S", 5), (b"250m", 0.25), (b"99999999u", 99.999999), (b"7n", 7e-9), (b"0S", 0)],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    """Every unit of the specification."""
    assert timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"S", b"5", b"5s", b"-1S", b"123456789S", b"1.5S", b" 5S", b"\xb25S"])
def test_timeouts_that_are_none(text: bytes) -> None:
    """Refused by name of the header."""
    with pytest.raises(InvalidRequest, match="grpc-timeout"):
        timeout_s(text)


def test_binary_metadata_is_decoded() -> None:
    """With and without padding, and several values joined by a comma."""
    assert read_entry(b"k-bin", b"AAE=") == read_entry(b"k-bin", b"AAE") == [("k-bin", b"\x00\x01")]
    assert read_entry(b"k-bin", b"AAE, Ag") == [("k-bin", b"\x00\x01"), ("k-bin", b"\x02")]
    assert read_entry(b"k", b"AAE") == [("k", "AAE")]


@pytest.mark.parametrize("value", [b"A", b"A*==", b"\xff\xff"])
def test_binary_metadata_that_is_none(value: bytes) -> None:
    """Refused by name of the header."""
    with pytest.raises(InvalidRequest, match="k-bin"):
        read_entry(b"k-bin", value)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=50))
def test_binary_metadata_comes_back(value: bytes) -> None:
    """What is written is read."""
    assert read_entry(b"k-bin", write_value("k-bin", value)) == [("k-bin", value)]


@pytest.mark.parametrize("value", ["ü", "a\nb", "a\x00", b"bytes"])
def test_values_that_may_not_be_sent(value: str | bytes) -> None:
    """They would let an edge inject headers behind a proxy."""
    with pytest.raises(LocalError):
        write_value("x", value)


@pytest.mark.parametrize("name", ["X-Upper", "with space", "", ":path", "grpc-status", "content-type", "te", "a\n"])
def test_names_that_may_not_be_sent(name: str) -> None:
    """They are reserved, or malformed."""
    with pytest.raises(LocalError):
        check_name(name)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_status_text_comes_back(text: str) -> None:
    """Percent-encoding is ASCII on the wire and undone by any decoder."""
    encoded = percent_encode(text, 10_000)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote(encoded.decode()) == text


def test_status_text_is_cut_between_characters() -> None:
    """A limit never leaves half of a %XX or of a character."""
    assert percent_encode("aüüü", 10) == b"a%C3%BC"
    assert percent_encode("abc", 2) == b"ab"
