"""From what arrives on an HTTP/2 connection to calls of the edges' functions."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from router.front.calls import Metadata
from router.front.http2_calls import Carrier, Http2Call, Http2StreamCall, Http2UnaryCall
from router.front.http2_listener import Listener
from router.http2 import replies
from router.http2.connection import Connection
from router.http2.grpc_message import Message, Packed
from router.http2.streams import (
    CallGone,
    CallOpened,
    ConnectionFailed,
    Event,
    HalfClosed,
    MessageArrived,
    Stream,
    UnaryArrived,
    UnaryPacked,
)
from router.http2.turnstile import Bar
from router.refusals import StandingShed
from serving.errors import Cancelled, DeadlineExceeded, DodonaError, InternalError

log = logging.getLogger(__name__)

_PASSED: Final = DeadlineExceeded("the deadline had passed on arrival", field="grpc-timeout")
_TOO_LATE: Final = replies.OK_HEAD + replies.error_trailers(_PASSED, len(str(_PASSED)))
_LONGEST_FRONT: Final = 4096
"""Bytes of a message before its tensor: what is kept to know others like it by."""


class Arrivals:
    """Of one connection. A request that is refused without a look at it becomes no call."""

    def __init__(self, carrier: Carrier, listener: Listener, http: Connection) -> None:
        self._carrier = carrier
        self._listener = listener
        self._loop = listener.loop
        self._unary = listener.unary
        self._bars = listener.bars
        self._http = http

    def begin(self, events: Iterable[Event]) -> None:
        """Deal with all of them."""
        for event in events:
            if type(event) is UnaryArrived:
                self._start(event.stream, event.message)
            else:
                self._on_event(event)

    def close(self) -> None:
        """The connection is gone: let go of it, or the circle would wait for the garbage collector."""
        del self._carrier

    def _start(self, stream: Stream, message: Message) -> None:
        if stream.closed:  # cancelled behind its request, in the same bytes
            return
        timeout_s = stream.head.timeout_s
        if (timeout_s is not None or self._bars.by_size) and (block := self._turned_away(stream, message)):
            self._http.answers.refuse(stream, block)
            return
        call = Http2UnaryCall(self._carrier, stream, message)
        if timeout_s is not None:
            self._watch(call, stream, timeout_s)
        try:
            self._unary[stream.head.path](call)
        except DodonaError as error:
            call.fail(error)
        except Exception:
            log.exception("unary call failed", extra={"path": call.path, "peer": call.peer})
            call.fail(InternalError("internal error"))

    def _turned_away(self, stream: Stream, message: Message) -> bytes:
        """The trailers of a request for which nothing is to be made, else empty."""
        head, bars = stream.head, self._bars
        if head.timeout_s is not None and stream.opened_at + head.timeout_s <= self._loop.time():
            return _TOO_LATE
        if not bars.by_size:
            return b""
        bar = bars.find(head, message, self._loop.time())
        return bar.block() if bar is not None else b""

    def bar(self, stream: Stream, message: Message, error: StandingShed, echo: Metadata) -> None:
        head = stream.head
        if not head.known or error.alike is None or not isinstance(message, bytes):  # large ones are no flood
            return
        begins = error.alike(message)
        if 0 < len(begins) <= _LONGEST_FRONT:
            error.standing.allowed_s += self._loop.time() - stream.opened_at
            self._bars.put_up(Bar(head, message, begins, error.standing, echo))

    def _start_inflated(self, stream: Stream, packed: Packed) -> None:
        """Inflate a large message beside the event loop, then start its call as if it had just come."""

        def inflated(message: asyncio.Future[Message]) -> None:
            if stream.closed or message.cancelled():  # the caller, or the front, has gone
                return
            try:
                self._start(stream, message.result())
            except DodonaError as error:
                self._http.refuse_message(stream, error)
            self._carrier.flush_soon()

        self._listener.inflate(packed, stream.head.encoding).add_done_callback(inflated)

    def _start_streaming(self, stream: Stream) -> None:
        if stream.closed:
            return
        call = Http2StreamCall(self._carrier, stream)
        timeout_s = stream.head.timeout_s
        if timeout_s is not None:
            if stream.opened_at + timeout_s <= self._loop.time():
                call.fail(_PASSED)
                return
            self._watch(call, stream, timeout_s)
        self._listener.run(call, self._run(call))

    async def _run(self, call: Http2StreamCall) -> None:
        try:
            await self._listener.streaming[call.path](call)
        except DodonaError as error:
            call.fail(error)
        except Exception:
            log.exception("streaming call failed", extra={"path": call.path, "peer": call.peer})
            call.fail(InternalError("internal error"))
        except asyncio.CancelledError:
            call.fail(Cancelled("the call was broken off"))  # of no effect if the caller has gone
            raise
        else:
            call.finish()

    def _watch(self, call: Http2Call, stream: Stream, timeout_s: float) -> None:
        call.deadline = deadline = stream.opened_at + timeout_s
        self._listener.watch(call, deadline)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ConnectionFailed):
            log.info(
                "connection failed: %s", event.error, extra={"peer": self._carrier.peer, "code": event.error.code.name}
            )
            return
        call = event.stream.call
        if isinstance(event, CallOpened):
            self._start_streaming(event.stream)
        elif isinstance(event, CallGone):
            gone(event.stream)
        elif isinstance(event, UnaryPacked):
            self._start_inflated(event.stream, event.packed)
        elif isinstance(call, Http2StreamCall):
            if isinstance(event, MessageArrived):
                call.arrived(event.packed)
            elif isinstance(event, HalfClosed):
                call.half_closed()


def gone(stream: Stream) -> None:
    """Nobody waits for the stream's answer any more: stop the work on it."""
    if isinstance(stream.call, Http2Call):
        stream.call.gone()
