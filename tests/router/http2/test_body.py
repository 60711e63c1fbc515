"""Large messages: put together from frames in any order and any cut, within the same bounds as small ones."""

from random import Random

import numpy as np
import pytest

from router.http2 import frames
from router.http2.body import LARGE_BYTES, Body
from router.http2.limits import Http2Limits
from router.http2.streams import CallGone, MessageArrived, UnaryArrived
from tests.router.http2.wire import STREAM, Raw, data, grpc_frame, headers, resets

FRAME = 16_384


def noise(size: int, seed: int = 0) -> bytes:
    return Random(seed).randbytes(size)


def framed(stream_id: int, body: bytes, sizes: list[int], *, end: bool = True) -> list[bytes]:
    """DATA frames of these sizes, the last size for all that follow; a negative one is padded with 100 bytes."""
    parts, start, turn = [], 0, 0
    while start < len(body):
        size = sizes[min(turn, len(sizes) - 1)]
        turn += 1
        piece = body[start : start + abs(size)]
        start += len(piece)
        flags = frames.END_STREAM if end and start == len(body) else 0
        if size < 0:
            parts.append(data(stream_id, b"\x64" + piece + bytes(100), flags | frames.PADDED))
        else:
            parts.append(data(stream_id, piece, flags))
    return parts


@pytest.mark.parametrize("seed", range(40))
def test_large_messages_survive_any_frames_and_any_cut(seed: int) -> None:
    """Three calls, their frames of equal and unequal sizes in turn or one behind the other, in pieces of any size: each
    gets its own message, and nothing of them is kept or counted afterwards."""
    random = Random(seed)
    wire = Raw()
    messages = {sid: noise(random.choice((5_000, LARGE_BYTES - 1, 70_000, 300_000, 602_112)), sid) for sid in (1, 3, 5)}
    paths = {sid: random.choice(("/a/Unary", STREAM)) for sid in messages}
    queues = {}
    for sid, message in messages.items():
        sizes = random.choice(([FRAME], [4096], [65_536], [100, FRAME], [FRAME, -FRAME, 5000, FRAME], [4095]))
        queues[sid] = framed(sid, grpc_frame(message), sizes)
    sent = b"".join(wire.opening(sid, path=paths[sid]) for sid in messages)
    run = random.choice((1, 3, 1000))
    while any(queues.values()):
        for queue in queues.values():
            sent += b"".join(queue[:run])
            del queue[:run]
    found = {}
    piece = random.choice((1009, 65_536, 256_000, len(sent)))
    for start in range(0, len(sent), piece):
        for event in wire.feed(sent[start : start + piece]):
            if isinstance(event, UnaryArrived):
                found[event.stream.id] = event.message
                wire.server.answers.reply(event.stream, b"")
            elif isinstance(event, MessageArrived):
                found[event.stream.id] = event.packed[1]
                wire.server.answers.consumed(event.stream, len(event.packed[1]))
                wire.server.answers.finish(event.stream)
    assert found == messages
    assert wire.server._intake._buffered == 0
    assert not any(resets(wire.sent()).values())


def test_a_large_message_is_a_view_that_cannot_be_written_to() -> None:
    """It is not copied to become bytes; a small one is."""
    wire = Raw()
    for sid, size, kind in ((1, LARGE_BYTES, memoryview), (3, LARGE_BYTES - 1, bytes)):
        message = noise(size)
        (event,) = wire.feed(wire.opening(sid), *framed(sid, grpc_frame(message), [FRAME]))
        assert isinstance(event, UnaryArrived)
        assert isinstance(event.message, kind)
        assert event.message == message
        assert memoryview(event.message).readonly


def test_room_is_made_for_what_comes_not_for_what_is_announced() -> None:
    """Of a message of 60 MB, at most four times what is there."""
    body = Body(60_000_000)
    for turn in range(50):
        body.add(memoryview(b"x" * 10)) if turn % 2 else body.add_rows(np.zeros((3, 5000), np.uint8))
        assert len(body._view) <= 4 * body._have
    assert body.missing == 60_000_000 - 25 * 10 - 25 * 15_000


def test_frames_in_a_row_do_not_pass_the_window() -> None:
    """Beside a message that nobody has read, the frame that goes beyond it is refused: FLOW_CONTROL_ERROR."""
    wire = Raw(Http2Limits(stream_window_bytes=262_144))
    unread, more = grpc_frame(bytes(200_000)), grpc_frame(bytes(300_000))
    opened, arrived = wire.feed(wire.opening(1, path=STREAM), *framed(1, unread, [FRAME], end=False))
    assert isinstance(arrived, MessageArrived)
    parts = framed(1, more, [FRAME], end=False)
    assert wire.feed(*parts[:3]) == []
    assert wire.feed(*parts[3:]) == [CallGone(opened.stream)]
    assert resets(wire.sent()) == {1: 3}


def test_frames_in_a_row_do_not_pass_the_content_length() -> None:
    """PROTOCOL_ERROR at the frame that does."""
    wire = Raw()
    head = frames.header_frames(1, wire.block([*headers(), ("content-length", "60000")]), 0, FRAME)
    wire.feed(head, *framed(1, grpc_frame(bytes(100_000))[:65_536], [FRAME], end=False))
    assert resets(wire.sent()) == {1: 1}


def test_frames_in_a_row_do_not_pass_what_a_connection_may_buffer() -> None:
    """RESOURCE_EXHAUSTED for the call that does, and its room is free again."""
    wire = Raw(Http2Limits(max_buffered_bytes=100_000))
    wire.feed(wire.opening(1), *framed(1, grpc_frame(bytes(300_000)), [FRAME], end=False))
    assert wire.counters.refused == {"message_too_large": 1}
    assert wire.server._intake._buffered == 0
    (event,) = wire.feed(wire.opening(3), *framed(3, grpc_frame(bytes(90_000)), [FRAME]))
    assert isinstance(event, UnaryArrived)


def test_frames_in_a_row_do_not_pass_the_end_of_a_message() -> None:
    """A second message behind the first is refused, though its frame looks like those before."""
    wire = Raw()
    size = 10 * FRAME - 5
    wire.feed(wire.opening(1), *framed(1, grpc_frame(bytes(size)) + grpc_frame(bytes(FRAME - 5)), [FRAME], end=False))
    assert b"several messages" in b"".join(payload for _, _, _, payload in wire.sent())


def updates(wire: Raw, stream_id: int) -> list[int]:
    """WINDOW_UPDATEs of the stream among what goes out now, in bytes."""
    sent = wire.sent()
    return [int.from_bytes(p, "big") for kind, _, sid, p in sent if kind == frames.WINDOW_UPDATE and sid == stream_id]


def test_a_window_that_suffices_for_the_rest_is_not_renewed() -> None:
    """602 KB come without an update of the stream's window; what does not fit the window gets one."""
    wire = Raw()
    wire.feed(wire.opening(1), *framed(1, grpc_frame(bytes(602_112)), [FRAME]))
    assert updates(wire, 1) == []
    parts = framed(3, grpc_frame(bytes(1_500_000)), [FRAME], end=False)
    wire.feed(wire.opening(3), *parts[:33])
    assert sum(updates(wire, 3)) == 33 * FRAME


def test_padding_cannot_use_up_the_window_of_what_is_missing() -> None:
    """A caller that pads every frame gets its window renewed before it would stand still."""
    wire = Raw(Http2Limits(stream_window_bytes=131_072))
    window, came = 131_072, False
    wire.feed(wire.opening(1))
    for part in framed(1, grpc_frame(bytes(120_000)), [-400]):
        window -= len(part) - frames.HEAD_BYTES
        assert window >= 0
        came = any(isinstance(event, UnaryArrived) for event in wire.feed(part)) or came
        window += sum(updates(wire, 1))
    assert came
