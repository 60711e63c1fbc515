"""Calls as edges see them, on our own HTTP/2 front. The contract is router.front.calls."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from router.front.calls import Metadata
from router.http2.answers import Answers
from router.http2.errors import LocalError
from router.http2.grpc_message import Message, Packed, unpack_at_once
from router.http2.limits import Http2Limits
from router.http2.streams import Stream
from router.refusals import StandingShed
from serving.errors import Cancelled, DodonaError, InternalError

log = logging.getLogger(__name__)


class Carrier(Protocol):
    """The connection that carries a call."""

    answers: Answers
    peer: str
    limits: Http2Limits

    def flush_soon(self) -> None:
        """Write what the call has just queued, once, at the end of this event-loop turn."""

    def inflate(self, packed: Packed, encoding: str) -> asyncio.Future[Message]:
        """Undo the compression of a large message, outside the event loop. Raises DodonaError."""

    def bar(self, stream: Stream, message: Message, error: StandingShed, echo: Metadata) -> None:
        """Turn further requests like this one away, with the same error, while it stands."""

    def settle(self, call: "Http2Call") -> None:
        """The call is over: its deadline matters no more."""


class Http2Call:
    """What unary and streaming calls share. `stream.call` is this call until it is over, then None."""

    __slots__ = ("_carrier", "_stream", "deadline", "tick")

    def __init__(self, carrier: Carrier, stream: Stream) -> None:
        self._carrier = carrier
        self._stream = stream
        self.deadline: float | None = None
        self.tick = 0
        """Where DeadlineSlots keeps it; 0 = nowhere."""
        stream.call = self

    @property
    def path(self) -> str:
        return self._stream.head.path

    @property
    def metadata(self) -> Metadata:
        return self._stream.head.metadata

    @property
    def peer(self) -> str:
        return self._carrier.peer

    def fail(self, error: DodonaError, metadata: Metadata = ()) -> None:
        stream = self._stream
        if stream.call is None:
            return
        try:
            self._carrier.answers.fail(stream, error, metadata)
        except LocalError:
            log.exception("bad reply metadata", extra={"path": self.path})
            self._carrier.answers.fail(stream, error)
        self._over()

    def gone(self) -> None:
        """The caller went away, or was answered without the edge (deadline): stop the work."""
        if self._stream.call is not None:
            self._over()
            self._stop()

    def expire(self, error: DodonaError) -> None:
        """Answer without the edge, and stop its work."""
        if self._stream.call is not None:
            Http2Call.fail(self, error)
            self._stop()

    def _over(self) -> None:
        self._stream.call = None
        if self.tick:
            self._carrier.settle(self)
        self._carrier.flush_soon()

    def _stop(self) -> None:
        """Stop the edge's work; each kind of call has its own way."""


class Http2UnaryCall(Http2Call):
    """Lets go of `on_cancel` when it is over: edges put the way back to this call in there, and such a circle would
    keep every request alive until the garbage collector comes by."""

    __slots__ = ("message", "on_cancel")

    def __init__(self, carrier: Carrier, stream: Stream, message: Message) -> None:
        super().__init__(carrier, stream)
        self.message = message
        self.on_cancel: Callable[[], None] | None = None

    def reply(self, message: bytes, metadata: Metadata = ()) -> None:
        stream = self._stream
        if stream.call is None:
            return
        try:
            self._carrier.answers.reply(stream, message, metadata)
        except LocalError:
            log.exception("bad reply metadata", extra={"path": self.path})
            self.fail(InternalError("internal error"))
            return
        self._over()
        self.on_cancel = None

    def fail(self, error: DodonaError, metadata: Metadata = ()) -> None:
        super().fail(error, metadata)
        self.on_cancel = None
        if isinstance(error, StandingShed):
            self._carrier.bar(self._stream, self.message, error, metadata)

    def _stop(self) -> None:
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            try:
                on_cancel()
            except Exception:
                log.exception("on_cancel raised", extra={"path": self.path})


class Http2StreamCall(Http2Call):
    __slots__ = ("_ended", "_inbox", "_readable", "_sent", "task")

    def __init__(self, carrier: Carrier, stream: Stream) -> None:
        super().__init__(carrier, stream)
        self._inbox: deque[Packed] = deque()
        self._ended = False
        self._readable: asyncio.Future[None] | None = None
        self._sent: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    def __aiter__(self) -> "Http2StreamCall":
        return self

    async def __anext__(self) -> Message:
        while not self._inbox:
            if self._ended:
                raise StopAsyncIteration
            self._readable = asyncio.get_running_loop().create_future()
            await self._readable
        packed = self._inbox.popleft()
        self._carrier.answers.consumed(self._stream, len(packed[1]))
        self._carrier.flush_soon()
        encoding = self._stream.head.encoding
        message = unpack_at_once(packed, encoding, self._carrier.limits)
        return await self._carrier.inflate(packed, encoding) if message is None else message

    async def send(self, message: bytes) -> None:
        """Raises Cancelled if the caller has gone, TooLarge above the message limit."""
        if self._stream.closed:
            raise Cancelled("the caller has gone")
        went_out = self._carrier.answers.send(self._stream, message)
        self._carrier.flush_soon()
        if not went_out:
            self._sent = asyncio.get_running_loop().create_future()
            await self._sent

    # From the connection.

    def arrived(self, packed: Packed) -> None:
        self._inbox.append(packed)
        _wake(self._readable)

    def half_closed(self) -> None:
        self._ended = True
        _wake(self._readable)

    def sent(self) -> None:
        """The message that waited has gone out."""
        _wake(self._sent)

    def finish(self) -> None:
        if self._stream.call is not None:
            self._carrier.answers.finish(self._stream)
            self._over()

    def _stop(self) -> None:
        if self.task is not None:
            self.task.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
