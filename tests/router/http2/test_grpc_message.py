"""Message framing: any split of the bytes, and every fault by name."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http2.grpc_message import MessageReader, unpack
from serving.errors import InternalError, InvalidRequest, TooLarge
from tests.router.http2.wire import grpc_frame


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.integers(1, 12), min_size=1))
def test_messages_survive_any_split(messages: list[bytes], sizes: list[int]) -> None:
    """However the bytes are cut, the messages come out whole and in order."""
    reader, rest, found = MessageReader(1000), b"".join(map(grpc_frame, messages)), []
    turn = 0
    while rest:
        size = sizes[turn % len(sizes)]
        turn += 1
        found += reader.feed(memoryview(rest[:size]))
        rest = rest[size:]
    reader.finish()
    assert found == [(0, message) for message in messages]


def test_a_message_above_the_limit_is_refused_by_its_prefix() -> None:
    """Before any of it is kept."""
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes = 10"):
        MessageReader(10).feed(memoryview(grpc_frame(b"x" * 11)[:5]))


@pytest.mark.parametrize(("have", "text"), [(3, "3 of the 5 bytes of a message prefix"), (7, "2 of 4 message bytes")])
def test_a_truncated_message_is_named(have: int, text: str) -> None:
    """The fault says how much came and how much was announced."""
    reader = MessageReader(10)
    reader.feed(memoryview(grpc_frame(b"abcd")[:have]))
    with pytest.raises(InvalidRequest, match=text):
        reader.finish()


def test_an_unknown_flag_is_refused() -> None:
    """Only 0 and 1 are defined."""
    with pytest.raises(InvalidRequest, match="flag is 2"):
        MessageReader(10).feed(memoryview(grpc_frame(b"", flag=2)))


def test_gzip_is_inflated_within_the_limit() -> None:
    """A message of exactly the limit passes, one byte more is a bomb."""
    assert unpack((1, gzip.compress(b"x" * 1000)), "gzip", 1000) == b"x" * 1000
    with pytest.raises(TooLarge, match="max_message_bytes = 1000"):
        unpack((1, gzip.compress(b"x" * 1001)), "gzip", 1000)
    assert unpack((0, b"plain"), "gzip", 1000) == b"plain"


@pytest.mark.parametrize("payload", [b"no gzip", zlib.compress(b"zlib"), b"", gzip.compress(b"cut off")[:-9]])
def test_what_is_no_gzip_is_refused(payload: bytes) -> None:
    """Garbage, another format, nothing, and a truncated stream."""
    with pytest.raises(InvalidRequest, match="gzip"):
        unpack((1, payload), "gzip", 1000)


def test_a_compressed_flag_without_an_encoding() -> None:
    """INTERNAL, as the gRPC specification asks."""
    with pytest.raises(InternalError, match="grpc-encoding"):
        unpack((1, gzip.compress(b"x")), "identity", 1000)
