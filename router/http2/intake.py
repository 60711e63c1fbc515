"""The receiving half of flow control, and DATA that is not simply one whole message.

The connection's window is credited as bytes arrive, in batches: whoever holds it back for one slow stream stalls all
others. What a slow reader can pin is bounded per stream instead: a stream's window is `stream_window_bytes` less what
its owner has not consumed, where the bytes of a message that is not whole yet count as consumed (it could never
become whole otherwise; `max_message_bytes` bounds it). `max_buffered_bytes` bounds all streams together. A window that
suffices for the rest of a unary request is not renewed.
"""

from typing import Final

import numpy as np

from router.http2.errors import ErrorCode, RemoteStreamError
from router.http2.frames import HEAD_BYTES, window_update
from router.http2.grpc_message import PREFIX_BYTES, MessageReader, Packed, unpack_at_once
from router.http2.limits import Http2Limits
from router.http2.sender import Sender
from router.http2.streams import Event, HalfClosed, MessageArrived, Stream, UnaryArrived, UnaryPacked
from serving.errors import InvalidRequest, TooLarge

RUN_FRAME_BYTES: Final = 4096
"""From here on frames are worth to be taken together."""


class Intake:
    __slots__ = ("_buffered", "_credit_at", "_events", "_limits", "_sender", "_uncredited")

    def __init__(self, limits: Http2Limits, sender: Sender, events: list[Event]) -> None:
        self._events = events
        self._limits = limits
        self._sender = sender
        self._credit_at = limits.connection_window_bytes // 2
        self._uncredited = 0
        self._buffered = 0

    def arrived(self, size: int) -> None:
        """`size` bytes of DATA came, on whichever stream."""
        self._uncredited += size
        if self._uncredited >= self._credit_at:
            self._sender.control(window_update(0, self._uncredited))
            self._uncredited = 0

    def read(self, stream: Stream, payload: memoryview, size: int) -> None:
        """Take the payload of one DATA frame; `size` counts its padding too.

        Raises RemoteStreamError, and DodonaError for what gRPC forbids.
        """
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise RemoteStreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        stream.received += len(payload)
        self._check_length(stream, at_end=False)
        self._buffer(stream, len(payload))
        if stream.reader is None:
            stream.reader = MessageReader(self._limits.max_message_bytes)
        for packed in stream.reader.feed(payload):
            self._accept(stream, packed)
        self._credit(stream)

    def read_run(self, stream: Stream, received: bytes, start: int, size: int) -> int:
        """Take the frame at `start`, which is whole and has `size` bytes and no flags, and those behind it of the same
        head, where they are the middle of one message; returns where the next frame begins, 0 if it took none.

        A large message is many frames (16 KiB each for most clients), so they are read together. Every frame that could
        be at fault, exceed a bound or end something is left to `read`.
        """
        reader = stream.reader
        body = None if reader is None else reader.body
        if body is None:
            return 0
        room = min(body.missing - 1, stream.receive_window, self._limits.max_buffered_bytes - self._buffered)
        if stream.head.content_length is not None:
            room = min(room, stream.head.content_length - stream.received)
        if size > room:
            return 0
        step = HEAD_BYTES + size
        head = received[start : start + HEAD_BYTES]
        count = 1
        if size <= room - size and received.startswith(head, start + step):
            most = min((len(received) - start) // step, room // size)
            rows = np.frombuffer(received, np.uint8, most * step, start).reshape(most, step)
            count = _alike(rows[:, :HEAD_BYTES].tobytes(), head)
            body.add_rows(rows[:count, HEAD_BYTES:])
        else:
            body.add(memoryview(received)[start + HEAD_BYTES : start + step])
        taken = count * size
        self.arrived(taken)
        stream.receive_window -= taken
        stream.received += taken
        stream.buffered += taken
        self._buffered += taken
        self._credit(stream)
        return start + count * step

    def finish(self, stream: Stream) -> None:
        """The caller has half-closed. Raises as `read`."""
        self._check_length(stream, at_end=True)
        if stream.reader is not None:
            stream.reader.finish()
        if not stream.head.unary:
            self._events.append(HalfClosed(stream))
            return
        if stream.message is None:
            raise InvalidRequest("the request holds no message", field="message", remedy="a unary call sends one")
        packed, stream.message, stream.reader = stream.message, None, None
        message = unpack_at_once(packed, stream.head.encoding, self._limits)
        if message is None:  # its bytes count as buffered until the call is over
            self._events.append(UnaryPacked(stream, packed))
            return
        self.forget(stream)
        self._events.append(UnaryArrived(stream, message))

    def consumed(self, stream: Stream, size: int) -> None:
        """The owner took a message of `size` payload bytes off a stream."""
        stream.unread -= size + PREFIX_BYTES
        stream.buffered -= size + PREFIX_BYTES
        self._buffered -= size + PREFIX_BYTES
        if not stream.remote_closed:
            self._credit(stream)

    def forget(self, stream: Stream) -> None:
        """Nothing of the stream is kept here any more."""
        self._buffered -= stream.buffered
        stream.buffered = 0
        stream.reader = None

    def _accept(self, stream: Stream, packed: Packed) -> None:
        if not stream.head.unary:
            stream.unread += len(packed[1]) + PREFIX_BYTES
            self._events.append(MessageArrived(stream, packed))
        elif stream.message is None:
            stream.message = packed
        else:
            raise InvalidRequest("the request holds several messages", field="message", remedy="a unary call sends one")

    def _buffer(self, stream: Stream, size: int) -> None:
        stream.buffered += size
        self._buffered += size
        if self._buffered > self._limits.max_buffered_bytes:
            raise TooLarge(
                f"unfinished or unread messages of this connection are above {self._limits.max_buffered_bytes} bytes",
                field="message",
                remedy="send less at a time, use more connections or raise router.limits.max_message_bytes",
            )

    def _credit(self, stream: Stream) -> None:
        window = self._limits.stream_window_bytes
        due = window - max(stream.unread, 0) - stream.receive_window
        if due >= window // 2 and not self._suffices(stream):
            stream.receive_window += due
            self._sender.control(window_update(stream.id, due))

    def _suffices(self, stream: Stream) -> bool:
        """Whether the window is as it stands enough for all that a unary call still has to send, and a frame more: of
        padding, or of what it should not send."""
        if not stream.head.unary or stream.reader is None:
            return False
        body = stream.reader.body
        missing = 0 if body is None else body.missing
        return stream.receive_window >= missing + self._limits.max_frame_bytes

    def _check_length(self, stream: Stream, *, at_end: bool) -> None:
        expected = stream.head.content_length
        if expected is not None and (stream.received > expected or (at_end and stream.received < expected)):
            raise RemoteStreamError(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA does not match content-length")


def _alike(heads: bytes, head: bytes) -> int:
    """How many of the `heads`, from the first on, are the same as `head`."""
    most = len(heads) // HEAD_BYTES
    if heads == head * most:
        return most
    return next(at for at in range(most) if not heads.startswith(head, at * HEAD_BYTES))
