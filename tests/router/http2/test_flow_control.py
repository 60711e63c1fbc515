"""Flow control both ways, as transcripts: what is granted, what goes out."""

import pytest

from router.http2 import frames
from router.http2.limits import Http2Limits
from router.http2.streams import CallGone, CallOpened, MessageArrived, UnaryArrived
from tests.router.http2.wire import STREAM, Raw, Wire, data, goaway, grpc_frame, headers, request, resets

SMALL = Http2Limits(max_frame_bytes=16_384, stream_window_bytes=65_535, connection_window_bytes=131_072)


def sizes(wire: Raw) -> list[int]:
    """Bytes of each DATA frame that goes out now."""
    return [len(payload) for kind, _, _, payload in wire.sent() if kind == frames.DATA]


def initial_window(size: int) -> bytes:
    return frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: size})


def answered(wire: Raw, stream_id: int, size: int) -> None:
    """A unary call whose reply, prefix included, is `size` bytes."""
    (event,) = wire.feed(request(wire, stream_id))
    assert isinstance(event, UnaryArrived)
    wire.server.answers.reply(event.stream, bytes(size - 5))


def test_a_reply_waits_for_the_stream_window() -> None:
    """Granted bit by bit, it goes out bit by bit; trailers follow the last byte."""
    wire = Raw()
    wire.feed(initial_window(100))
    answered(wire, 1, 250)
    assert sizes(wire) == [100]
    wire.feed(frames.window_update(1, 30))
    assert sizes(wire) == [30]
    assert wire.sent() == []
    wire.feed(frames.window_update(1, 1000))
    assert [(kind, len(payload)) for kind, _, _, payload in wire.sent()] == [(frames.DATA, 120), (frames.HEADERS, 15)]
    assert not wire.server.streams


def test_a_window_may_become_negative() -> None:
    """SETTINGS may take back what was granted; nothing goes out until the debt is paid."""
    wire = Raw()
    wire.feed(initial_window(100))
    answered(wire, 1, 250)
    assert sizes(wire) == [100]
    wire.feed(initial_window(10))  # the stream stands at -90
    wire.feed(frames.window_update(1, 90))
    assert sizes(wire) == []
    wire.feed(frames.window_update(1, 1))
    assert sizes(wire) == [1]
    wire.feed(initial_window(1000))
    assert sizes(wire) == [149]


def test_the_connection_window_is_shared_in_turn() -> None:
    """Two large replies take turns, a frame each, until the connection's window is shut."""
    wire = Raw()
    wire.feed(initial_window(1_000_000))
    for stream_id in (1, 3):
        (event,) = wire.feed(request(wire, stream_id))
        wire.server.answers.reply(event.stream, bytes(60_000))
    first = [(sid, len(payload)) for kind, _, sid, payload in wire.sent() if kind == frames.DATA]
    assert [sid for sid, _ in first] == [1, 3, 1, 3]
    assert sum(size for _, size in first) == 65_535
    wire.feed(frames.window_update(0, 1_000_000))
    assert sum(sizes(wire)) == 2 * 60_005 - 65_535
    assert not wire.server.streams


def test_one_stalled_call_does_not_stall_others() -> None:
    """A shut stream window holds back that stream only."""
    wire = Raw()
    wire.feed(initial_window(10))
    answered(wire, 1, 100)
    assert sizes(wire) == [10]
    answered(wire, 3, 8)
    assert sizes(wire) == [8]


def test_a_turn_writes_no_more_than_the_quantum() -> None:
    """Waiting bytes leave in portions, so that the transport can say stop in between."""
    wire = Raw(Http2Limits(write_quantum_bytes=32_768))
    wire.feed(initial_window(2**30), frames.window_update(0, 2**30))
    answered(wire, 1, 100_000)
    portions = []
    while wire.server.has_more:
        portions.append(sum(sizes(wire)))
    assert sum(portions) == 100_000
    assert all(portion <= 32_768 + 16_384 for portion in portions)


def test_a_burst_of_messages_in_one_turn_is_bounded_too() -> None:
    """A stream that sends without pause is told to wait even if the peer's windows are huge."""
    wire = Raw(Http2Limits(write_quantum_bytes=32_768))
    wire.feed(initial_window(2**30), frames.window_update(0, 2**30))
    (opened,) = wire.feed(wire.opening(1, path=STREAM))
    went_out = [wire.server.answers.send(opened.stream, bytes(10_000)) for _ in range(5)]
    assert went_out == [True, True, True, True, False]
    assert sum(sizes(wire)) == 5 * 10_005
    assert wire.server.take_drained() == [opened.stream]
    assert wire.server.take_drained() == []


def test_nothing_but_control_frames_while_held() -> None:
    """A full transport holds messages back; acknowledgements still pass."""
    wire = Raw()
    wire.server.held = True
    answered(wire, 1, 100)
    wire.feed(frames.ping(b"12345678"))
    assert [kind for kind, *_ in wire.sent()] == [frames.HEADERS, frames.PING]
    wire.server.held = False
    assert [kind for kind, *_ in wire.sent()] == [frames.DATA, frames.HEADERS]


def test_a_cancelled_call_frees_what_it_had_queued() -> None:
    """Nothing of it goes out later."""
    wire = Raw()
    wire.feed(initial_window(10))
    answered(wire, 1, 100)
    wire.sent()
    (gone,) = wire.feed(frames.rst_stream(1, 8))
    assert isinstance(gone, CallGone)
    wire.feed(frames.window_update(1, 1000), initial_window(1000))
    assert sizes(wire) == []
    assert not wire.server.has_more


def test_replies_nobody_reads_are_bounded() -> None:
    """Past max_queued_bytes a further reply becomes RESOURCE_EXHAUSTED, which needs no window."""
    wire = Raw(Http2Limits(max_queued_bytes=1000))
    wire.feed(initial_window(0))
    answered(wire, 1, 900)
    answered(wire, 3, 900)
    sent = wire.sent()
    assert [(kind, sid) for kind, _, sid, _ in sent if sid] == [(frames.HEADERS, 1), (frames.HEADERS, 3)]
    assert b"grpc-status\x018" in sent[-1][3]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frames.window_update(0, 2**31 - 1), 3),
        (frames.head(frames.WINDOW_UPDATE, 4, 0, 0) + bytes(4), 1),
        (frames.head(frames.WINDOW_UPDATE, 3, 0, 0) + bytes(3), 6),
        (frames.window_update(7, 1), 1),
        (initial_window(2**31), 3),
    ],
)
def test_grants_that_break_the_connection(sent: bytes, code: int) -> None:
    """Overflow, zero, a wrong size, an idle stream, an impossible setting."""
    wire = Raw()
    wire.feed(request(wire, 1), sent)
    assert goaway(wire.sent()) == code


@pytest.mark.parametrize(("increment", "code"), [(2**31 - 1, 3), (0, 1)])
def test_grants_that_break_a_stream(increment: int, code: int) -> None:
    """Overflow and zero reset the stream and cancel its call."""
    wire = Raw()
    (event,) = wire.feed(request(wire, 1))
    assert wire.feed(frames.window_update(1, increment)) == [CallGone(event.stream)]
    assert resets(wire.sent()) == {1: code}


def test_settings_that_overflow_an_open_stream() -> None:
    """RFC 9113 section 6.9.2: a connection error."""
    wire = Raw()
    wire.feed(request(wire, 1), frames.window_update(1, 2**31 - 1 - 65_535))
    wire.feed(initial_window(65_536))
    assert goaway(wire.sent()) == 3


def test_uploads_are_credited_in_batches() -> None:
    """A message larger than both windows arrives whole, and an update comes once per half window, not per frame."""
    wire = Wire(SMALL)
    stream_id = wire.client.get_next_available_stream_id()
    wire.client.send_headers(stream_id, headers())
    rest = grpc_frame(bytes(1_000_000))
    updates = 0
    while rest:
        size = min(len(rest), wire.client.local_flow_control_window(stream_id), 16_384)
        assert size > 0
        wire.client.send_data(stream_id, rest[:size], end_stream=size == len(rest))
        rest = rest[size:]
        before = len(wire.heard)
        wire.pump()
        updates += len(wire.heard) - before
    assert len(wire.arrived()[0].message) == 1_000_000
    assert updates <= 2 * (1_000_000 // 32_767) + 3


def test_a_slow_reader_of_a_stream_holds_its_caller_back() -> None:
    """Whole messages that nobody consumes shut the stream's window; consuming opens it again."""
    wire = Raw(SMALL)
    events = wire.feed(wire.opening(1, path=STREAM), *(data(1, grpc_frame(bytes(9_995))) for _ in range(6)))
    messages = [event for event in events if isinstance(event, MessageArrived)]
    assert len(messages) == 6
    assert [kind for kind, _, sid, _ in wire.sent() if sid == 1] == []  # nothing credited to the stream
    for message in messages:
        wire.server.answers.consumed(message.stream, len(message.packed[1]))
    credited = [payload for kind, _, sid, payload in wire.sent() if kind == frames.WINDOW_UPDATE and sid == 1]
    assert sum(int.from_bytes(payload, "big") for payload in credited) >= 32_767


def test_data_beyond_the_window_is_refused() -> None:
    """FLOW_CONTROL_ERROR on that stream, its call cancelled."""
    wire = Raw(SMALL)
    events = wire.feed(wire.opening(1, path=STREAM), *(data(1, grpc_frame(bytes(9_995))) for _ in range(7)))
    assert isinstance(events[0], CallOpened)
    assert events[-1] == CallGone(events[0].stream)
    assert resets(wire.sent()) == {1: 3}


def test_unfinished_messages_of_a_connection_are_bounded() -> None:
    """Past max_buffered_bytes the stream that crosses it is refused; the room comes back with it."""
    wire = Raw(Http2Limits(max_buffered_bytes=30_000))
    start = grpc_frame(bytes(60_000))[:14_000]
    wire.feed(wire.opening(1), data(1, start), wire.opening(3), data(3, start))
    assert resets(wire.sent()) == {}
    wire.feed(wire.opening(5), data(5, start))
    assert resets(wire.sent()) == {5: 0}
    wire.feed(wire.opening(7), data(7, start[:1000]))
    assert resets(wire.sent()) == {}
    assert wire.counters.refused == {"message_too_large": 1}


def test_h2_agrees_on_every_window() -> None:
    """After large messages both ways h2's idea of the windows and ours are the same."""
    wire = Wire()
    for size in (10, 70_000, 300_000):
        stream_id = wire.client.get_next_available_stream_id()
        wire.client.send_headers(stream_id, headers())
        framed = grpc_frame(bytes(size))
        for start in range(0, len(framed), 60_000):
            wire.client.send_data(stream_id, framed[start : start + 60_000])
            wire.pump()
        wire.client.end_stream(stream_id)
        wire.pump()
        wire.server.answers.reply(wire.arrived()[-1].stream, bytes(size))
        while not wire.ended(stream_id):
            wire.pump()
            got = wire.body(stream_id)
            assert got
            wire.client.increment_flow_control_window(60_000)
            if not wire.ended(stream_id):
                wire.client.increment_flow_control_window(60_000, stream_id)
        assert len(wire.body(stream_id)) == size + 5
    wire.pump()
    assert wire.server._sender.window == wire.client.inbound_flow_control_window
