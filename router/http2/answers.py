"""How calls are answered and how they end: the part of a connection that its owner calls.

Every function does nothing on a stream that is closed, so an answer that comes too late needs no care.
"""

from router.http2 import frames, replies
from router.http2.errors import ErrorCode
from router.http2.grpc_message import too_large
from router.http2.intake import Intake
from router.http2.limits import Http2Limits
from router.http2.metadata import Metadata
from router.http2.sender import Sender
from router.http2.streams import Stream
from router.http2.table import StreamTable
from serving.errors import DodonaError, Shed


class Answers:
    __slots__ = ("_intake", "_limits", "_max_message_bytes", "_sender", "_table")

    def __init__(self, limits: Http2Limits, table: StreamTable, sender: Sender, intake: Intake) -> None:
        self._limits = limits
        self._max_message_bytes = limits.max_message_bytes
        self._table = table
        self._sender = sender
        self._intake = intake

    def reply(self, stream: Stream, message: bytes, metadata: Metadata = ()) -> None:
        """Answer a unary call with OK; `metadata` goes out ahead of it. Raises LocalError for bad metadata."""
        if stream.closed:
            return
        block = replies.metadata_block(metadata) if metadata else b""
        if len(message) > self._max_message_bytes or self._sender.queued:
            fault = self._unsendable(message)
            if fault is not None:
                self.fail(stream, fault)
                return
        self._sender.reply(stream, message, block)
        if stream.outbox is None:
            self.ended(stream)

    def send(self, stream: Stream, message: bytes) -> bool:
        """Send one message of a streaming call; False if it has to wait for the caller. Raises TooLarge, Shed."""
        if stream.closed:
            return True
        fault = self._unsendable(message)
        if fault is not None:
            raise fault
        if not stream.head_sent:
            self._sender.head(stream, b"")
        self._sender.message(stream, message)
        return stream.outbox is None

    def finish(self, stream: Stream) -> None:
        """End a streaming call with OK, behind what is still queued."""
        if stream.closed:
            return
        if not stream.head_sent:
            self._sender.head(stream, b"")
        self._sender.trailers(stream, replies.OK_TRAILERS)
        if stream.outbox is None:
            self.ended(stream)

    def fail(self, stream: Stream, error: DodonaError, metadata: Metadata = ()) -> None:
        """End a call with the error's status; `metadata` goes out as trailers. Raises LocalError for bad metadata."""
        if stream.closed:
            return
        block = replies.error_trailers(error, self._limits.max_status_bytes) + replies.metadata_block(metadata)
        if stream.outbox is not None:  # a message is half out: no status can make sense of it
            self.cancel(stream)
            return
        self._sender.trailers(stream, block if stream.head_sent else replies.OK_HEAD + block)
        self.ended(stream)

    def refuse(self, stream: Stream, block: bytes) -> None:
        """End a call at once with a block made beforehand."""
        self._sender.trailers(stream, block)
        self.ended(stream)

    def cancel(self, stream: Stream) -> None:
        """Break a call off without an answer."""
        if not stream.closed:
            self._sender.control(frames.rst_stream(stream.id, ErrorCode.CANCEL))
            self._table.cut_short(stream.id)
            self.close(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """The owner took a message of `size` payload bytes off a streaming call; the caller may send more."""
        if not stream.closed:
            self._intake.consumed(stream, size)

    def ended(self, stream: Stream) -> None:
        """Our side is done; if the caller's is not, tell it to stop."""
        if not stream.remote_closed:
            self._table.cut_short(stream.id)
            self._sender.control(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
        self.close(stream)

    def close(self, stream: Stream) -> None:
        """Forget a stream and all that is kept for it."""
        stream.closed = True
        del self._table.open[stream.id]
        if stream.outbox is not None:
            self._sender.forget(stream)
        if stream.buffered:
            self._intake.forget(stream)

    def _unsendable(self, message: bytes) -> DodonaError | None:
        if len(message) > self._max_message_bytes:
            return too_large(f"reply of {len(message)} bytes", self._max_message_bytes)
        limit = self._limits.max_queued_bytes
        if self._sender.queued + len(message) > limit and self._sender.queued:
            return Shed(f"replies that wait for the caller would be above {limit} bytes", remedy="read them faster")
        return None
