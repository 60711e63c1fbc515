"""The sending half of a connection: replies in, bytes out, within the peer's flow-control windows.

A small reply whose window is open is three frames in one piece, written at once. Anything else goes through the
stream's outbox and is moved out by `move`, one frame per stream in turn, no more than `write_quantum_bytes` a time, so
that the transport's own buffer can say stop in between. Invariants: an outbox is never empty; a stream is in `_ready`
exactly when it has an outbox and its own window is open (the connection's window is looked at when moving).
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from router.http2 import frames, replies
from router.http2.errors import ErrorCode, RemoteError, RemoteStreamError
from router.http2.grpc_message import PREFIX, PREFIX_BYTES
from router.http2.limits import Http2Limits
from router.http2.streams import Outbox, Stream

# HEADERS with OK_HEAD, then the head of DATA and the message prefix: all of a reply before the message.
_REPLY_HEAD: Final = Struct(f">IBI{len(replies.OK_HEAD)}sIBIBI")
_DATA_HEAD: Final = Struct(">IBIBI")
_REPLY_TAIL: Final = Struct(f">IBI{len(replies.OK_TRAILERS)}s")
_HEAD_WORD: Final = len(replies.OK_HEAD) << 8 | frames.HEADERS
_TAIL_WORD: Final = len(replies.OK_TRAILERS) << 8 | frames.HEADERS
_MOST_METADATA: Final = frames.DEFAULT_FRAME_BYTES // 2  # of a reply written in one piece
_LAST: Final = frames.END_STREAM | frames.END_HEADERS


class Sender:
    __slots__ = (
        "_limits",
        "_out",
        "_preamble",
        "_ready",
        "_unwritten",
        "drained",
        "held",
        "initial_window",
        "max_frame_bytes",
        "messages",
        "queued",
        "window",
    )

    def __init__(self, limits: Http2Limits) -> None:
        self._limits = limits
        self._out: list[bytes | memoryview] = []
        self._ready: dict[int, Stream] = {}
        self._preamble = b""
        self._unwritten = 0
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame_bytes = frames.DEFAULT_FRAME_BYTES
        self.held = False
        """The transport's buffer is full: DATA waits, control frames do not."""
        self.messages = 0
        """Messages sent so far: the useful work that refills the peer's allowances."""
        self.queued = 0
        """DATA bytes in all outboxes."""
        self.drained: list[Stream] = []
        """Open streams whose outbox ran empty since the owner last cleared this."""

    def reply(self, stream: Stream, message: bytes, metadata: bytes) -> None:
        """Head, one message and the OK trailers; `metadata` is a header block of custom initial metadata."""
        size = len(message) + PREFIX_BYTES
        if self._preamble or len(metadata) > _MOST_METADATA or not self._fits(stream, size):
            self.head(stream, metadata)
            self.message(stream, message)
            self.trailers(stream, replies.OK_TRAILERS)
            return
        self.messages += 1
        self.window -= size
        sid = stream.id
        if metadata:
            head = frames.HEAD.pack(_HEAD_WORD + (len(metadata) << 8), frames.END_HEADERS, sid) + replies.OK_HEAD
            head += metadata + _DATA_HEAD.pack(size << 8, 0, sid, 0, len(message))
        else:
            head = _REPLY_HEAD.pack(
                _HEAD_WORD, frames.END_HEADERS, sid, replies.OK_HEAD, size << 8, 0, sid, 0, len(message)
            )
        self._out += (head, message, _REPLY_TAIL.pack(_TAIL_WORD, _LAST, sid, replies.OK_TRAILERS))

    def head(self, stream: Stream, metadata: bytes) -> None:
        stream.head_sent = True
        self._headers(stream.id, replies.OK_HEAD + metadata, 0)

    def message(self, stream: Stream, message: bytes) -> None:
        """Write one message if nothing is in its way, else queue it."""
        size = len(message) + PREFIX_BYTES
        prefix = PREFIX.pack(0, len(message))
        self.messages += 1
        # The last condition bounds what one turn can pile up when the peer's windows are huge.
        if self._fits(stream, size) and self._unwritten < self._limits.write_quantum_bytes:
            self._unwritten += size
            self.window -= size
            stream.send_window -= size
            self._out += (frames.HEAD.pack(size << 8 | frames.DATA, 0, stream.id), prefix, message)
            return
        box = stream.outbox
        if box is None:
            box = stream.outbox = Outbox()
        box.put(prefix)
        box.put(message)
        self.queued += size
        self._enlist(stream)

    def trailers(self, stream: Stream, block: bytes) -> None:
        """The end of our side, behind whatever is queued."""
        if stream.outbox is None:
            self._headers(stream.id, block, frames.END_STREAM)
        else:
            stream.outbox.trailers = block

    def control(self, frame: bytes) -> None:
        """A frame that goes out whatever the windows say."""
        self._out.append(frame)

    def forget(self, stream: Stream) -> None:
        """The stream is closed: drop what it still had to send."""
        if stream.outbox is not None:
            self.queued -= stream.outbox.size
            stream.outbox = None
            self._ready.pop(stream.id, None)

    @property
    def has_preamble(self) -> bool:
        """Whether the next header block is not to go out as it is."""
        return bool(self._preamble)

    @property
    def movable(self) -> bool:
        """Whether `move` would move anything."""
        return bool(self._ready) and not self.held and self.window > 0

    def move(self) -> list[Stream]:
        """Move queued DATA out as far as windows and the quantum allow; returns the streams that ended thereby."""
        ended: list[Stream] = []
        room = self._limits.write_quantum_bytes
        while self._ready and self.window > 0 and room > 0:
            stream = self._ready.pop(next(iter(self._ready)))
            room -= self._move_frame(stream, ended)
            self._enlist(stream)
        return ended

    def take(self) -> bytes:
        """Everything to write now."""
        self._unwritten = 0
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _fits(self, stream: Stream, size: int) -> bool:
        """Whether DATA of `size` bytes may go out at once, in one frame."""
        return (
            size <= self.window
            and size <= stream.send_window
            and size <= self.max_frame_bytes
            and stream.outbox is None
            and not self.held
        )

    def _move_frame(self, stream: Stream, ended: list[Stream]) -> int:
        """Write one DATA frame of the stream, and its trailers behind the last one; returns the bytes of DATA."""
        box = stream.outbox
        if box is None:
            return 0
        size = min(box.size, self.window, stream.send_window, self.max_frame_bytes)
        self._out.append(frames.head(frames.DATA, size, 0, stream.id))
        self._out += box.cut(size)
        self.window -= size
        stream.send_window -= size
        self.queued -= size
        if box.size:
            return size
        stream.outbox = None
        if box.trailers is None:
            self.drained.append(stream)
        else:
            self._headers(stream.id, box.trailers, frames.END_STREAM)
            ended.append(stream)
        return size

    def _enlist(self, stream: Stream) -> None:
        if stream.outbox is not None and stream.send_window > 0:
            self._ready[stream.id] = stream

    def _headers(self, stream_id: int, block: bytes, flags: int) -> None:
        if self._preamble:
            block, self._preamble = self._preamble + block, b""
        self._out.append(frames.header_frames(stream_id, block, flags, self.max_frame_bytes))

    # What the peer grants.

    def grant(self, increment: int) -> None:
        """WINDOW_UPDATE of the connection. Raises RemoteError."""
        self.window += increment
        if self.window > frames.MAX_WINDOW:
            raise RemoteError(ErrorCode.FLOW_CONTROL_ERROR, "connection window above 2^31-1")

    def grant_stream(self, stream: Stream, increment: int) -> None:
        """WINDOW_UPDATE of one stream. Raises RemoteStreamError."""
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise RemoteStreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "stream window above 2^31-1")
        self._enlist(stream)

    def apply_settings(self, values: dict[int, int], streams: Iterable[Stream]) -> None:
        """The peer's SETTINGS. A smaller initial window may leave streams below zero. Raises RemoteError."""
        self.max_frame_bytes = min(
            values.get(frames.Setting.MAX_FRAME_SIZE, self.max_frame_bytes), self._limits.write_quantum_bytes
        )
        if values.get(frames.Setting.HEADER_TABLE_SIZE, frames.DEFAULT_TABLE_BYTES) < frames.DEFAULT_TABLE_BYTES:
            self._preamble = replies.NO_DYNAMIC_TABLE
        initial = values.get(frames.Setting.INITIAL_WINDOW_SIZE, self.initial_window)
        change, self.initial_window = initial - self.initial_window, initial
        if not change:
            return
        for stream in streams:
            stream.send_window += change
            if stream.send_window > frames.MAX_WINDOW:
                raise RemoteError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS took a stream window above 2^31-1")
            self._ready.pop(stream.id, None)
            self._enlist(stream)
