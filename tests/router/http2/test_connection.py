"""Calls over a connection, with python-hyper's h2 as the client."""

import gzip

import h2.events
import pytest

from router.http2 import frames
from router.http2.limits import Http2Limits
from router.http2.streams import CallGone, CallOpened, ConnectionFailed, HalfClosed, MessageArrived, UnaryArrived
from serving.errors import Shed
from tests.router.http2.wire import STREAM, UNARY, Raw, Wire, data, grpc_frame, headers, make, request, resets


def test_a_unary_call() -> None:
    """One event for the whole request, one answer in three frames."""
    wire = Wire()
    stream_id = wire.call(b"question")
    (event,) = wire.pump()
    assert isinstance(event, UnaryArrived)
    assert (event.message, event.stream.head.path) == (b"question", UNARY)
    wire.server.answers.reply(event.stream, b"answer", (("x-request-id", "7"), ("t-bin", b"\x00")))
    wire.pump()
    fields = wire.fields(stream_id)
    assert (fields[":status"], fields["grpc-status"], fields["x-request-id"]) == ("200", "0", "7")
    assert fields["t-bin"] == "AA"
    assert wire.body(stream_id) == grpc_frame(b"answer")
    assert wire.ended(stream_id)
    assert not wire.server.streams


def test_many_calls_in_one_read_are_answered_in_one_write() -> None:
    """All that a turn produces leaves in one piece, in whatever order it was answered."""
    wire = Wire()
    ids = [wire.call(b"%d" % number) for number in range(20)]
    for event in reversed(wire.server.receive(wire.client.data_to_send(), 0.0)):
        assert isinstance(event, UnaryArrived)
        wire.server.answers.reply(event.stream, event.message)
    wire.heard += wire.client.receive_data(wire.server.take())
    assert [wire.body(stream_id) for stream_id in ids] == [grpc_frame(b"%d" % number) for number in range(20)]


def test_an_error_is_one_header_block() -> None:
    """Trailers only: status, percent-encoded text, retry delay, metadata."""
    wire = Wire()
    stream_id = wire.call()
    (event,) = wire.pump()
    wire.server.answers.fail(event.stream, Shed("voll ü", retry_after_s=1.5), (("x-request-id", "7"),))
    wire.pump()
    fields = wire.fields(stream_id)
    assert (fields["grpc-status"], fields["grpc-message"]) == ("8", "voll %C3%BC")
    assert (fields["retry-after-ms"], fields["x-request-id"]) == ("1500", "7")
    assert wire.ended(stream_id)


def test_answers_that_come_too_late_are_dropped() -> None:
    """After a cancel nothing more is written for the call, whatever its owner does."""
    wire = Wire()
    stream_id = wire.call()
    (event,) = wire.pump()
    wire.client.reset_stream(stream_id)
    assert wire.pump() == [CallGone(event.stream)]
    answers = wire.server.answers
    answers.reply(event.stream, b"late")
    answers.fail(event.stream, Shed("late"))
    answers.finish(event.stream)
    answers.cancel(event.stream)
    answers.consumed(event.stream, 5)
    assert answers.send(event.stream, b"late")
    assert wire.server.take() == b""
    assert wire.counters.resets_received == 1


def test_a_streaming_call() -> None:
    """Opened, messages, half-closed; messages and OK back."""
    wire = Wire()
    stream_id = wire.call(b"one", STREAM, end=False)
    wire.client.send_data(stream_id, grpc_frame(b"two") + grpc_frame(b"three")[:4])
    wire.client.send_data(stream_id, grpc_frame(b"three")[4:])
    wire.client.end_stream(stream_id)
    events = wire.pump()
    assert isinstance(events[0], CallOpened)
    stream = events[0].stream
    assert [event.packed for event in events if isinstance(event, MessageArrived)] == [
        (0, b"one"),
        (0, b"two"),
        (0, b"three"),
    ]
    assert events[-1] == HalfClosed(stream)
    assert wire.server.answers.send(stream, b"a")
    assert wire.server.answers.send(stream, b"")
    wire.server.answers.finish(stream)
    wire.pump()
    assert wire.body(stream_id) == grpc_frame(b"a") + grpc_frame(b"")
    assert wire.fields(stream_id)["grpc-status"] == "0"


def test_a_stream_may_end_without_a_message() -> None:
    """Head and trailers still both go out."""
    wire = Wire()
    stream_id = wire.call(path=STREAM)
    wire.server.answers.finish(wire.pump()[0].stream)
    wire.pump()
    assert wire.fields(stream_id)["grpc-status"] == "0"
    assert wire.ended(stream_id)


def test_a_stream_answered_early_tells_the_caller_to_stop() -> None:
    """Trailers, then RST_STREAM(NO_ERROR); what was under way is dropped without a fault."""
    wire = Raw()
    (opened,) = wire.feed(wire.opening(1, path=STREAM))
    wire.server.answers.finish(opened.stream)
    assert resets(wire.sent()) == {1: 0}
    assert wire.feed(data(1, grpc_frame(b"late")), data(1, b"", frames.END_STREAM)) == []
    assert wire.feed(frames.header_frames(1, wire.block([("x", "y")]), frames.END_STREAM, 2**14)) == []
    assert wire.sent() == []


def test_caller_trailers_end_the_request() -> None:
    """HEADERS with END_STREAM after DATA; without it, or with a pseudo header, they are a fault of that stream."""
    wire = Raw()
    sent = wire.opening(1) + data(1, grpc_frame(b"hi"))
    sent += frames.header_frames(1, wire.block([("x-checksum", "1")]), frames.END_STREAM, 2**14)
    (event,) = wire.feed(sent)
    assert isinstance(event, UnaryArrived)
    assert event.message == b"hi"
    for stream_id, flags, name in ((3, 0, "x"), (5, frames.END_STREAM, ":path")):
        wire.feed(wire.opening(stream_id) + data(stream_id, grpc_frame(b"hi")))
        wire.feed(frames.header_frames(stream_id, wire.block([(name, "1")]), flags, 2**14))
        assert resets(wire.sent()) == {stream_id: 1}


@pytest.mark.parametrize("size", [1, 2, 5, 9, 100])
def test_any_split_of_the_bytes(size: int) -> None:
    """The peer's segments may be as small as it likes."""
    wire = Raw()
    sent = request(wire, 1, b"first") + frames.ping(b"12345678") + request(wire, 3, b"second")
    events = [event for start in range(0, len(sent), size) for event in wire.feed(sent[start : start + size])]
    assert [event.message for event in events if isinstance(event, UnaryArrived)] == [b"first", b"second"]
    assert (frames.PING, frames.ACK, 0, b"12345678") in wire.sent()


def test_a_message_in_many_frames() -> None:
    """Padding, priority fields, empty frames and any cut of the message change nothing."""
    wire = Raw()
    block = wire.block()
    message = bytes(range(100))
    framed = grpc_frame(message)
    padded_head = bytes((3,)) + b"\x00\x00\x00\x00\x10" + block + bytes(3)
    flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
    sent = frames.head(frames.HEADERS, len(padded_head), flags, 1) + padded_head
    sent += data(1, framed[:3]) + data(1, b"") + data(1, bytes((7,)) + framed[3:50] + bytes(7), frames.PADDED)
    sent += data(1, framed[50:]) + data(1, b"", frames.END_STREAM)
    (event,) = wire.feed(sent)
    assert isinstance(event, UnaryArrived)
    assert event.message == message


def test_a_header_block_in_many_frames() -> None:
    """HEADERS and CONTINUATION, cut anywhere."""
    wire = Raw()
    block = wire.block()
    sent = frames.head(frames.HEADERS, 1, 0, 1) + block[:1]
    for byte in block[1:20]:
        sent += frames.head(frames.CONTINUATION, 1, 0, 1) + bytes((byte,))
    sent += frames.head(frames.CONTINUATION, len(block) - 20, frames.END_HEADERS, 1) + block[20:]
    (event,) = wire.feed(sent, data(1, grpc_frame(b"hi"), frames.END_STREAM))
    assert isinstance(event, UnaryArrived)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"", "holds no message"),
        (grpc_frame(b"a") * 2, "several messages"),
        (grpc_frame(b"abc")[:-1], "ends after 2 of 3 message bytes"),
        (grpc_frame(b"abc")[:2], "2 of the 5 bytes"),
        (grpc_frame(b"abc", flag=7), "flag is 7"),
    ],
)
def test_a_unary_request_must_be_one_whole_message(sent: bytes, text: str) -> None:
    """INVALID_ARGUMENT with the fault; the next call on the connection works."""
    wire = Wire()
    stream_id = wire.client.get_next_available_stream_id()
    wire.client.send_headers(stream_id, headers())
    wire.client.send_data(stream_id, sent, end_stream=True)
    assert wire.pump() == []
    assert wire.fields(stream_id)["grpc-status"] == "3"
    assert text in wire.fields(stream_id)["grpc-message"]
    assert wire.counters.refused == {"bad_message": 1}
    wire.call(b"fine")
    assert isinstance(wire.pump()[0], UnaryArrived)


def test_a_message_above_the_limit() -> None:
    """RESOURCE_EXHAUSTED by name of the setting as soon as it is announced; the rest is dropped."""
    wire = Wire(Http2Limits(max_message_bytes=1000))
    stream_id = wire.call(b"x" * 1001, end=False)
    assert wire.pump() == []
    assert wire.fields(stream_id)["grpc-status"] == "8"
    assert "router.limits.max_message_bytes = 1000" in wire.fields(stream_id)["grpc-message"]
    assert wire.reset_code(stream_id) == 0
    wire.call(b"x" * 1000)
    (event,) = wire.pump()
    assert isinstance(event, UnaryArrived)
    wire.server.answers.reply(event.stream, b"x" * 1001)
    wire.pump()
    assert wire.fields(event.stream.id)["grpc-status"] == "8"


def test_a_compressed_request() -> None:
    """gzip is undone for unary calls; a streaming call's owner undoes it when it reads."""
    wire = Wire()
    stream_id = wire.client.get_next_available_stream_id()
    wire.client.send_headers(stream_id, headers(grpc_encoding="gzip"))
    wire.client.send_data(stream_id, grpc_frame(gzip.compress(b"squeezed"), flag=1), end_stream=True)
    (event,) = wire.pump()
    assert isinstance(event, UnaryArrived)
    assert event.message == b"squeezed"


@pytest.mark.parametrize(
    ("replaced", "status", "grpc_status", "reason"),
    [
        ({"path": "/a/Nothing"}, "200", "12", "unknown_path"),
        ({"method": "GET"}, "405", "3", "not_post"),
        ({"content_type": "application/json"}, "415", "3", "content_type"),
        ({"content_type": "application/grpc-web"}, "415", "3", "content_type"),
        ({"content_type": ""}, "415", "3", "content_type"),
        ({"grpc_encoding": "br"}, "200", "12", "unknown_encoding"),
        ({"grpc_timeout": "5x"}, "200", "3", "bad_metadata"),
        ({"k_bin": "*"}, "200", "3", "bad_metadata"),
        ({"x_large": "x" * 20_000}, "200", "8", "headers_too_large"),
    ],
)
def test_requests_refused_by_their_head(replaced: dict[str, str], status: str, grpc_status: str, reason: str) -> None:
    """Each has its status and its counter, and the next call on the connection works."""
    wire = Wire()
    stream_id = wire.call(**replaced)
    assert wire.pump() == []
    fields = wire.fields(stream_id)
    assert (fields[":status"], fields["grpc-status"]) == (status, grpc_status)
    assert wire.ended(stream_id)
    assert wire.counters.refused == {reason: 1}
    if reason == "unknown_path":
        assert "/a/Nothing" in fields["grpc-message"]
    if reason == "unknown_encoding":
        assert fields["grpc-accept-encoding"] == "identity,gzip"
    if reason == "not_post":
        assert fields["allow"] == "POST"
    wire.call(b"fine")
    assert isinstance(wire.pump()[0], UnaryArrived)


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_types_of_grpc(kind: str) -> None:
    """All that the specification allows."""
    wire = Wire()
    wire.call(content_type=kind)
    assert isinstance(wire.pump()[0], UnaryArrived)


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "POST"), (":scheme", "http"), ("te", "trailers")],
        [(":path", UNARY), *headers()],
        [*headers(), (":path", UNARY)],
        [*headers(), ("x-own", "1"), (":authority", "y")],
        [("x-own", "1"), *headers()],
        [(":protocol", "websocket"), *headers()],
        [(":status", "200"), *headers()],
        [*headers(), ("X-Upper", "1")],
        [*headers(), ("x y", "1")],
        [*headers(), ("", "1")],
        [*headers(), ("x", "a\r\nb")],
        [*headers(), ("x", "a\0")],
        [*headers(), ("x", " a")],
        [*headers(), ("connection", "close")],
        [*headers(), ("transfer-encoding", "chunked")],
        headers(te="gzip"),
        headers(path=""),
        [*headers(), ("content-length", "1"), ("content-length", "2")],
        [*headers(), ("content-length", "x")],
    ],
)
def test_malformed_requests_cost_their_stream_only(fields: list[tuple[str, str]]) -> None:
    """RST_STREAM(PROTOCOL_ERROR), as RFC 9113 section 8 asks; the next call works."""
    wire = Raw()
    block = wire.block([(*field, True) for field in fields])
    assert wire.feed(frames.header_frames(1, block, frames.END_STREAM, 2**14)) == []
    assert resets(wire.sent()) == {1: 1}
    assert isinstance(wire.feed(request(wire, 3))[0], UnaryArrived)


@pytest.mark.parametrize(("length", "fits"), [(7, True), (6, False), (8, False)])
@pytest.mark.parametrize("cut_at", [7, 3])
def test_content_length_must_match(length: int, fits: bool, cut_at: int) -> None:
    """In one frame or in several."""
    wire = Raw()
    fields = [*headers(), ("content-length", str(length))]
    framed = grpc_frame(b"hi")
    sent = frames.header_frames(1, wire.block(fields), 0, 2**14)
    if cut_at < len(framed):
        sent += data(1, framed[:cut_at]) + data(1, framed[cut_at:], frames.END_STREAM)
    else:
        sent += data(1, framed, frames.END_STREAM)
    events = wire.feed(sent)
    assert any(isinstance(event, UnaryArrived) for event in events) is fits
    assert resets(wire.sent()) == ({} if fits else {1: 1})


def test_draining_in_two_steps() -> None:
    """GOAWAY for the future, then, once the peer has heard, GOAWAY for now; open calls go on, new ones may retry."""
    wire = Raw()
    (first,) = wire.feed(request(wire, 1))
    wire.server.control.start_drain()
    sent = wire.sent()
    (ping,) = [payload for kind, _, _, payload in sent if kind == frames.PING]
    (warning,) = [payload for kind, _, _, payload in sent if kind == frames.GOAWAY]
    assert int.from_bytes(warning[:4], "big") == frames.MAX_STREAM_ID
    (second,) = wire.feed(request(wire, 3))  # was under way
    wire.feed(frames.ping(ping, frames.ACK))
    (final,) = [payload for kind, _, _, payload in wire.sent() if kind == frames.GOAWAY]
    assert int.from_bytes(final[:4], "big") == 3
    assert not wire.server.done
    assert wire.feed(request(wire, 5)) == []
    assert resets(wire.sent()) == {5: 7}  # REFUSED_STREAM
    for event in (first, second):
        assert isinstance(event, UnaryArrived)
        wire.server.answers.reply(event.stream, b"done")
    assert len([kind for kind, *_ in wire.sent() if kind == frames.DATA]) == 2
    assert wire.server.done


def test_a_peer_that_shrinks_its_header_table_is_told_that_we_use_none() -> None:
    """The next header block begins with a table size update; h2 would fail without it."""
    wire = Wire(HEADER_TABLE_SIZE=0)
    for _ in range(2):
        stream_id = wire.call()
        (event,) = wire.pump()
        wire.server.answers.reply(event.stream, b"ok")
        wire.pump()
        assert wire.fields(stream_id)["grpc-status"] == "0"


def test_large_reply_metadata_is_continued() -> None:
    """A header block above the peer's frame size goes out as HEADERS and CONTINUATION."""
    wire = Raw()
    (event,) = wire.feed(request(wire, 1))
    wire.server.answers.reply(event.stream, b"", (("x-large", "x" * 40_000),))
    assert [kind for kind, *_ in wire.sent()][:3] == [frames.HEADERS, frames.CONTINUATION, frames.CONTINUATION]


def test_a_peer_that_speaks_http_1_is_told_so() -> None:
    """In words that it understands; nothing of HTTP/2 goes before."""
    connection, counters = make()
    (event,) = connection.receive(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 0.0)
    assert isinstance(event, ConnectionFailed)
    assert connection.take().startswith(b"HTTP/1.1 400 ")
    assert connection.failed
    assert connection.receive(b"more", 0.0) == []
    assert counters.failures == {"HTTP_1_1_REQUIRED": 1}


def test_our_settings_are_acknowledged_and_theirs_too() -> None:
    """The client hears our limits, and an acknowledgement of its own settings."""
    wire = Wire()
    wire.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
    wire.pump()
    assert wire.client.remote_settings.max_concurrent_streams == Http2Limits().max_streams
    assert wire.client.remote_settings.max_frame_size == Http2Limits().max_frame_bytes
    assert any(isinstance(event, h2.events.SettingsAcknowledged) for event in wire.heard)


def test_the_connection_ignores_what_it_need_not_know() -> None:
    """Unknown frame types, PRIORITY, GOAWAY of the client."""
    wire = Raw()
    sent = frames.head(0x77, 3, 0xFF, 1) + b"abc" + frames.head(frames.PRIORITY, 5, 0, 9) + bytes(5)
    sent += frames.goaway(0, 0) + request(wire, 1)
    (event,) = wire.feed(sent)
    assert isinstance(event, UnaryArrived)
    assert wire.sent() == []
