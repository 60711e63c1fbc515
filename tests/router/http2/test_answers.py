"""What the owner of a connection calls: the cases that a healthy call does not meet."""

import pytest

from router.http2 import frames
from router.http2.errors import ErrorCode, LocalError
from router.http2.limits import Http2Limits
from router.http2.streams import CallOpened, Stream, UnaryArrived
from serving.errors import Shed, TooLarge
from tests.router.http2.wire import STREAM, Raw, request, resets


def opened(wire: Raw) -> Stream:
    event = wire.feed(wire.opening(1, frames.END_STREAM, STREAM))[0]
    assert isinstance(event, CallOpened)
    return event.stream


def shut(wire: Raw) -> None:
    """No window for any call."""
    wire.feed(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 0}))
    wire.server.take()


def test_the_end_of_a_call_waits_behind_its_messages() -> None:
    """Trailers follow the last byte of what was queued, however late that goes."""
    wire = Raw()
    shut(wire)
    stream = opened(wire)
    assert wire.server.answers.send(stream, b"ab") is False
    wire.server.answers.finish(stream)
    assert [kind for kind, *_ in wire.sent()] == [frames.HEADERS]
    wire.feed(frames.window_update(1, 7))
    assert [kind for kind, *_ in wire.sent()] == [frames.DATA, frames.HEADERS]
    assert stream.closed


def test_an_error_amid_a_message_breaks_the_call_off() -> None:
    """Half a message cannot be followed by a status that anyone would believe."""
    wire = Raw()
    wire.feed(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 3}))
    stream = opened(wire)
    wire.server.answers.send(stream, b"abc")
    wire.sent()
    wire.server.answers.fail(stream, Shed("late"))
    assert resets(wire.sent()) == {1: ErrorCode.CANCEL}
    assert not wire.server.streams


def test_an_error_after_whole_messages_is_their_trailers() -> None:
    """The head has gone out already, so it is not sent again."""
    wire = Raw()
    stream = opened(wire)
    wire.server.answers.send(stream, b"abc")
    wire.server.answers.fail(stream, Shed("late"))
    blocks = [payload for kind, _, _, payload in wire.sent() if kind == frames.HEADERS]
    assert [b"content-type" in block or b"application/grpc" in block for block in blocks] == [True, False]
    assert b"grpc-status\x018" in blocks[1]


def test_messages_too_large_to_send_are_the_edges_fault() -> None:
    """Raised to the coroutine, by name of the setting, before anything is sent."""
    wire = Raw(Http2Limits(max_message_bytes=10))
    stream = opened(wire)
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes = 10"):
        wire.server.answers.send(stream, bytes(11))
    assert wire.sent() == []


def test_messages_nobody_reads_are_refused() -> None:
    """Past max_queued_bytes, once something is waiting already."""
    wire = Raw(Http2Limits(max_queued_bytes=100))
    shut(wire)
    stream = opened(wire)
    wire.server.answers.send(stream, bytes(90))
    with pytest.raises(Shed, match="100 bytes"):
        wire.server.answers.send(stream, bytes(20))


@pytest.mark.parametrize("entry", [("X", "1"), ("x", "a\nb"), ("grpc-status", "0"), ("x", b"bytes")])
def test_bad_metadata_is_our_own_fault_and_sends_nothing(entry: tuple[str, str | bytes]) -> None:
    """LocalError to whoever gave it; the call can still be answered."""
    wire = Raw()
    (event,) = wire.feed(request(wire, 1))
    assert isinstance(event, UnaryArrived)
    with pytest.raises(LocalError):
        wire.server.answers.reply(event.stream, b"x", (entry,))
    with pytest.raises(LocalError):
        wire.server.answers.fail(event.stream, Shed("x"), (entry,))
    assert wire.sent() == []
    wire.server.answers.reply(event.stream, b"x")
    assert len(wire.sent()) == 3
