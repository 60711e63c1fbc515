"""Each known attack on HTTP/2 servers, and the bound that stops it; and that honest peers stay clear of the bounds."""

import gzip

import pytest

from router.http2 import frames
from router.http2.errors import ErrorCode
from router.http2.limits import Http2Limits
from router.http2.streams import CallGone, ConnectionFailed, Event, UnaryArrived
from tests.router.http2.wire import STREAM, Raw, data, goaway, grpc_frame, headers, make, request, resets

FEW = Http2Limits(control_burst=20, control_per_s=10.0, reset_burst=20, reset_per_s=10.0)
CALM = ErrorCode.ENHANCE_YOUR_CALM


def failed(events: list[Event]) -> bool:
    return any(isinstance(event, ConnectionFailed) for event in events)


def survives(wire: Raw, sent: bytes) -> int:
    """How often the peer may send this before the connection ends with ENHANCE_YOUR_CALM; at most 1000."""
    for count in range(1000):
        if failed(wire.feed(sent)):
            assert goaway(wire.sent()) == CALM
            return count
    return 1000


@pytest.mark.parametrize(
    "sent",
    [
        frames.ping(b"12345678"),
        frames.ping(b"12345678", frames.ACK),
        frames.settings({}),
        frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 1}),
        frames.SETTINGS_ACK,
        frames.head(frames.PRIORITY, 5, 0, 1) + bytes(5),
        frames.head(0x42, 0, 0, 0),
        frames.goaway(0, 0),
    ],
    ids=["ping", "ping-ack", "settings", "settings-change", "settings-ack", "priority", "unknown", "goaway"],
)
def test_control_floods(sent: bytes) -> None:
    """As many as the burst allows, no more; what was sent before the end is no more than one answer each."""
    wire = Raw(FEW)
    assert survives(wire, sent) <= 20
    assert wire.counters.failures == {"ENHANCE_YOUR_CALM": 1}


def test_a_flood_in_one_read_makes_a_bounded_answer() -> None:
    """A megabyte of PINGs is answered with the burst, not with a megabyte."""
    wire = Raw(FEW)
    assert failed(wire.feed(frames.ping(b"12345678") * 60_000))
    assert len(wire.server.take()) < 1000


@pytest.mark.parametrize(
    "sent",
    [data(1, b""), data(1, bytes((9,)) + bytes(9), frames.PADDED)],
    ids=["empty", "padding-only"],
)
def test_empty_data_floods(sent: bytes) -> None:
    """Frames that bring a call no further are paid for."""
    wire = Raw(FEW)
    wire.feed(wire.opening(1))
    assert survives(wire, sent) <= 20


def test_data_for_calls_long_answered_is_paid_for() -> None:
    """A peer that keeps sending on a refused call is cut off."""
    wire = Raw(FEW)
    wire.feed(wire.opening(1, path="/a/Nothing"))
    assert survives(wire, data(1, b"x")) <= 20


def test_control_frames_at_an_honest_pace() -> None:
    """Ten PINGs a minute for a day, and a PING with every answered call, are both fine."""
    wire = Raw(FEW)
    for minute in range(24 * 60):
        wire.now = minute * 60.0
        for _ in range(10):
            assert not failed(wire.feed(frames.ping(b"12345678")))
    for number in range(500):
        events = wire.feed(request(wire, 2 * number + 1), frames.ping(b"12345678"))
        assert isinstance(events[0], UnaryArrived)
        wire.server.answers.reply(events[0].stream, b"ok")
        wire.server.take()


def rapid(wire: Raw, stream_id: int) -> bytes:
    return request(wire, stream_id) + frames.rst_stream(stream_id, 8)


def made(wire: Raw, stream_id: int) -> bytes:
    """A request, then a fault that makes the server reset it (MadeYouReset)."""
    return request(wire, stream_id) + frames.window_update(stream_id, 2**31 - 1)


def made_by_late_data(wire: Raw, stream_id: int) -> bytes:
    return request(wire, stream_id) + data(stream_id, b"x")


def made_by_malformed_headers(wire: Raw, stream_id: int) -> bytes:
    block = wire.block([*headers(), (":path", "late")])
    return frames.header_frames(stream_id, block, frames.END_STREAM, 2**14)


def made_by_bad_messages(wire: Raw, stream_id: int) -> bytes:
    return wire.opening(stream_id, path=STREAM) + data(stream_id, grpc_frame(b"", flag=9))


@pytest.mark.parametrize("attack", [rapid, made, made_by_late_data, made_by_malformed_headers, made_by_bad_messages])
def test_rapid_reset_and_its_kin(attack: object) -> None:
    """Calls that are begun and broken off are paid for, whoever breaks them off; each one's work is cancelled."""
    wire = Raw(FEW)
    begun = gone = 0
    for number in range(100):
        events = wire.feed(attack(wire, 2 * number + 1))
        begun += sum(isinstance(event, UnaryArrived) for event in events)
        gone += sum(isinstance(event, CallGone) for event in events)
        assert not wire.server.streams
        if failed(events):
            assert number <= 20
            assert goaway(wire.sent()) == CALM
            break
    else:
        pytest.fail("never stopped")
    assert begun <= 21
    assert attack is made_by_malformed_headers or gone >= begun


def test_a_busy_proxy_may_cancel_as_often_as_it_completes() -> None:
    """Cancels are free as long as as many calls succeed, at any rate."""
    wire = Raw(FEW)
    for number in range(300):
        events = wire.feed(request(wire, 4 * number + 1), rapid(wire, 4 * number + 3))
        assert not failed(events)
        assert isinstance(events[0], UnaryArrived)
        wire.server.answers.reply(events[0].stream, b"ok")
        wire.server.take()


def test_streams_above_the_limit_are_refused() -> None:
    """REFUSED_STREAM, which is safe to retry; a peer that insists is cut off."""
    wire = Raw(Http2Limits(max_streams=3, reset_burst=20, reset_per_s=0))
    for number in range(3):
        assert len(wire.feed(request(wire, 2 * number + 1))) == 1
    assert wire.feed(request(wire, 7)) == []
    assert resets(wire.sent()) == {7: ErrorCode.REFUSED_STREAM}
    events: list[Event] = []
    for number in range(4, 30):
        events += wire.feed(request(wire, 2 * number + 1))
    assert failed(events)
    assert len(wire.server.streams) == 3


def test_continuation_flood() -> None:
    """Empty CONTINUATION frames end the connection, and so does a block that never ends."""
    wire = Raw(Http2Limits(max_continuations=5))
    wire.feed(frames.head(frames.HEADERS, 0, 0, 1))
    assert survives(wire, frames.head(frames.CONTINUATION, 0, 0, 1)) <= 5
    wire = Raw(Http2Limits(max_header_block_bytes=20_000))
    wire.feed(frames.head(frames.HEADERS, 0, 0, 1))
    assert survives(wire, frames.head(frames.CONTINUATION, 10_000, 0, 1) + bytes(10_000)) <= 2


def test_hpack_bomb() -> None:
    """A small block that refers to one large field thousands of times is refused without being built up."""
    wire = Raw()
    wire.feed(frames.header_frames(1, wire.block([*headers(), ("x-bomb", "x" * 3000)]), frames.END_STREAM, 2**14))
    wire.server.take()
    start = b"".join(wire.encoder.encode([field]) for field in headers())
    assert wire.feed(frames.header_frames(3, start + b"\xbe" * 15_000, frames.END_STREAM, 2**14)) == []
    ((_, flags, stream_id, block),) = [frame for frame in wire.sent() if frame[0] == frames.HEADERS]
    assert (flags & frames.END_STREAM, stream_id) == (1, 3)
    assert b"router.limits.max_header_bytes" in block
    assert isinstance(wire.feed(request(wire, 5))[0], UnaryArrived)


def test_headers_with_empty_names() -> None:
    """They are malformed: the call is reset, nothing of them is kept, and a peer that insists is cut off."""
    wire = Raw(FEW)
    for number in range(30):
        block = wire.block([*headers(), *[("", "")] * 100])
        events = wire.feed(frames.header_frames(2 * number + 1, block, frames.END_STREAM, 2**14))
        assert not wire.server.streams
        if failed(events):
            assert number <= 20
            assert goaway(wire.sent()) == CALM
            return
    pytest.fail("never stopped")


def test_gzip_bomb() -> None:
    """A message that inflates past the limit is refused by name; the connection lives on."""
    wire = Raw(Http2Limits(max_message_bytes=100_000))
    bomb = grpc_frame(gzip.compress(bytes(50_000_000)), flag=1)
    assert len(bomb) < 100_000
    opening = frames.header_frames(1, wire.block(headers(grpc_encoding="gzip")), 0, 2**14)
    assert wire.feed(opening, data(1, bomb, frames.END_STREAM)) == []
    (block,) = [payload for kind, _, _, payload in wire.sent() if kind == frames.HEADERS]
    assert b"router.limits.max_message_bytes" in block
    assert isinstance(wire.feed(request(wire, 3))[0], UnaryArrived)


def test_a_frame_above_the_announced_size() -> None:
    """Refused by its head, before any of it is kept."""
    wire = Raw()
    assert failed(wire.feed(frames.head(frames.DATA, Http2Limits().max_frame_bytes + 1, 0, 1)))
    assert goaway(wire.sent()) == ErrorCode.FRAME_SIZE_ERROR


def test_bytes_one_at_a_time_keep_no_more_than_a_frame() -> None:
    """A dribbling peer pins one frame, however long it dribbles."""
    wire = Raw()
    sent = wire.opening(1) + frames.head(frames.DATA, 10_000, 0, 1)
    for byte in sent + bytes(9_999):
        wire.feed(bytes((byte,)))
    assert len(wire.server._inbox._kept) == frames.HEAD_BYTES + 9_999
    wire.feed(b"\0")
    assert not wire.server._inbox


def test_settings_that_change_a_thousand_times_in_one_frame() -> None:
    """Only the last value is applied, so open calls are walked once."""
    wire = Raw()
    wire.feed(request(wire, 1))
    values = b"".join(b"\x00\x04" + number.to_bytes(4, "big") for number in range(2000))
    assert not failed(wire.feed(frames.head(frames.SETTINGS, len(values), 0, 0) + values))
    assert wire.server.streams[1].send_window == 1999


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frames.head(frames.HEADERS, 0, frames.END_HEADERS, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.HEADERS, 0, frames.END_HEADERS, 2), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.HEADERS, 0, frames.END_HEADERS | frames.PADDED, 1), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(frames.HEADERS, 1, 0x2C, 1) + b"\x00", ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(frames.HEADERS, 2, 0xC, 1) + b"\x05\x82", ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.HEADERS, 1, frames.END_HEADERS, 1) + b"\xff", ErrorCode.COMPRESSION_ERROR),
        (frames.head(frames.HEADERS, 0, 0, 1) + frames.ping(bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.HEADERS, 0, 0, 1) + frames.head(9, 0, 4, 3), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.CONTINUATION, 0, 4, 1), ErrorCode.PROTOCOL_ERROR),
        (data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frames.rst_stream(1, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.rst_stream(0, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.PRIORITY, 5, 0, 0) + bytes(5), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.PRIORITY, 4, 0, 1) + bytes(4), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(frames.PUSH_PROMISE, 4, 4, 1) + bytes(4), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.PING, 7, 0, 0) + bytes(7), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(frames.PING, 8, 0, 1) + bytes(8), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.GOAWAY, 4, 0, 0) + bytes(4), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.SETTINGS, 6, 0, 1) + bytes(6), ErrorCode.PROTOCOL_ERROR),
        (frames.head(frames.SETTINGS, 5, 0, 0) + bytes(5), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(frames.SETTINGS, 6, 1, 0) + bytes(6), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings({frames.Setting.ENABLE_PUSH: 2}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings({frames.Setting.MAX_FRAME_SIZE: 100}), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_frames_that_break_the_protocol(sent: bytes, code: ErrorCode) -> None:
    """GOAWAY with the code RFC 9113 names; nothing is read afterwards."""
    wire = Raw()
    assert failed(wire.feed(sent))
    assert goaway(wire.sent()) == code
    assert wire.feed(frames.ping(bytes(8))) == []
    assert wire.sent() == []


def test_the_first_frame_must_be_settings() -> None:
    """Anything else, an acknowledgement too, ends the connection."""
    for sent in (frames.ping(bytes(8)), frames.SETTINGS_ACK, frames.head(frames.HEADERS, 0, 4, 1)):
        connection, _ = make()
        assert failed(list(connection.receive(frames.PREFACE + sent, 0.0)))


def test_frames_on_a_closed_stream() -> None:
    """DATA resets it, HEADERS end the connection, the rest is dropped."""
    wire = Raw()
    (event,) = wire.feed(request(wire, 1))
    assert isinstance(event, UnaryArrived)
    wire.server.answers.reply(event.stream, b"ok")
    wire.server.take()
    assert wire.feed(frames.window_update(1, 5), frames.rst_stream(1, 8)) == []
    assert wire.sent() == []
    wire.feed(data(1, b"x"))
    assert resets(wire.sent()) == {1: ErrorCode.STREAM_CLOSED}
    wire = Raw()
    (event,) = wire.feed(request(wire, 1))
    assert isinstance(event, UnaryArrived)
    wire.server.answers.reply(event.stream, b"ok")
    wire.feed(wire.opening(1))
    assert goaway(wire.sent()) == ErrorCode.STREAM_CLOSED
