"""HEADERS and CONTINUATION: they open calls, or end them when the caller sends trailers."""

from router.http2 import frames
from router.http2.answers import Answers
from router.http2.blocks import PartialBlock
from router.http2.counters import Counters
from router.http2.errors import ErrorCode, MalformedRequest, RemoteError, RemoteStreamError
from router.http2.fields import check_plain
from router.http2.frames import END_HEADERS, END_STREAM, HAS_PRIORITY, PADDED
from router.http2.headers import BlockReader
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from router.http2.sender import Sender
from router.http2.streams import CallOpened, Event, Stream
from router.http2.table import StreamTable


class Opener:
    """`on_headers` and `on_continuation` return the stream that the caller has half-closed thereby, if any."""

    __slots__ = (
        "_answers",
        "_counters",
        "_events",
        "_limits",
        "_open",
        "_receive_window",
        "_sender",
        "_table",
        "blocks",
        "now",
        "partial",
    )

    def __init__(
        self,
        heads: HeadReader,
        limits: Http2Limits,
        counters: Counters,
        *,
        table: StreamTable,
        sender: Sender,
        answers: Answers,
        events: list[Event],
    ) -> None:
        self.blocks = BlockReader(heads, limits)
        self._limits = limits
        self._receive_window = limits.stream_window_bytes
        self._counters = counters
        self._table = table
        self._open = table.open
        self._sender = sender
        self._answers = answers
        self._events = events
        self.now = 0.0
        self.partial: PartialBlock | None = None
        """The header block under way; nothing but its CONTINUATION may come."""

    def on_headers(self, flags: int, stream_id: int, frame: bytes, start: int, stop: int) -> Stream | None:
        if flags & (PADDED | HAS_PRIORITY):
            start, stop = frames.strip(frame, flags, start, stop)
        if flags & END_HEADERS:
            return self._on_block(stream_id, flags & END_STREAM, frame[start:stop])
        _check_id(stream_id)
        self.partial = PartialBlock(stream_id, flags & END_STREAM, frame[start:stop], self._limits)
        return None

    def on_continuation(self, flags: int, stream_id: int, part: bytes) -> Stream | None:
        partial = self.partial
        if partial is None or partial.stream_id != stream_id:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, f"CONTINUATION of no block of stream {stream_id}")
        partial.add(part)
        if not flags & END_HEADERS:
            return None
        self.partial = None
        return self._on_block(stream_id, partial.end_stream, partial.whole())

    def _on_block(self, stream_id: int, end_stream: int, block: bytes) -> Stream | None:
        table = self._table
        if stream_id <= table.last_id or not stream_id & 1:
            return self._on_trailers(stream_id, end_stream, block)
        table.last_id = stream_id
        try:
            head = self.blocks.request(block)
        except MalformedRequest as error:
            raise RemoteStreamError(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from error
        if table.refusing:
            # Not a fault of the peer's, and it may safely try elsewhere.
            table.cut_short(stream_id)
            self._sender.control(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return None
        if len(self._open) >= self._limits.max_streams:
            raise RemoteStreamError(stream_id, ErrorCode.REFUSED_STREAM, "too many streams")
        self._counters.streams += 1
        stream = Stream(stream_id, head, self._sender.initial_window, self._receive_window, self.now)
        self._open[stream_id] = stream
        if head.refusal is not None:
            self._counters.refuse(head.refusal.reason)
            stream.remote_closed = bool(end_stream)
            self._answers.refuse(stream, head.refusal.block)
            return None
        if not head.unary:
            self._events.append(CallOpened(stream))
        return stream if end_stream else None

    def _on_trailers(self, stream_id: int, end_stream: int, block: bytes) -> Stream | None:
        _check_id(stream_id)
        fields = self.blocks.trailers(block)  # whatever becomes of them: the HPACK table must follow
        stream = self._open.get(stream_id)
        if stream is None:
            if not self._table.expects_strays(stream_id):
                raise RemoteError(ErrorCode.STREAM_CLOSED, f"HEADERS on closed stream {stream_id}")
            return None
        if stream.remote_closed:
            raise RemoteStreamError(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
        if not end_stream:
            raise RemoteStreamError(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM")
        try:
            check_plain(fields)
        except MalformedRequest as error:
            raise RemoteStreamError(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from error
        return stream


def _check_id(stream_id: int) -> None:
    if not stream_id & 1:
        raise RemoteError(ErrorCode.PROTOCOL_ERROR, f"a client may not open stream {stream_id}")
