"""One client connection: the asyncio shell around router.http2.Connection.

Hot path: `data_received` -> the edge's function -> `Http2UnaryCall.reply`, and one `write` at the end of the turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ssl import SSLObject
from typing import Final, Protocol, cast

from router.front.calls import StreamCall, UnaryCall
from router.front.http2_calls import Http2Call, Http2StreamCall, Http2UnaryCall
from router.front.parting import Parting
from router.http2.age import Age, Stage
from router.http2.connection import Connection
from router.http2.counters import Counters
from router.http2.grpc_message import Packed
from router.http2.limits import Http2Limits
from router.http2.liveness import Liveness, Verdict, slow_uploads, stalled
from router.http2.request import HeadReader
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
from serving.errors import Cancelled, DeadlineExceeded, DodonaError, InternalError, Unavailable
from serving.spinning import Woke

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
"""Requests between two looks at the clock."""
_MOST_WAITING: Final = 64
"""Beyond so many events the connection is not read; a connection with one call at a time never gets there."""


class Listener(Protocol):
    """What the connections of one front share."""

    loop: asyncio.AbstractEventLoop
    limits: Http2Limits
    counters: Counters
    heads: HeadReader
    woke: Woke
    """To be called when bytes arrive, before anything else."""

    @property
    def unary(self) -> Mapping[str, Callable[[UnaryCall], None]]: ...

    @property
    def streaming(self) -> Mapping[str, Callable[[StreamCall], Awaitable[None]]]: ...

    def admit(self, connection: "Http2Connection") -> bool:
        """Whether there is room for one more connection."""

    def closed(self, connection: "Http2Connection") -> None: ...

    def flush_soon(self, connection: "Http2Connection") -> None:
        """Call `flush` of the connection once in this event-loop turn."""

    def watch(self, call: Http2Call, deadline: float) -> None:
        """Expire the call at its deadline (event-loop seconds)."""

    def settle(self, call: Http2Call) -> None:
        """Forget the call's deadline."""

    def run(self, call: Http2StreamCall, work: Awaitable[None]) -> None:
        """Run a streaming call as a task of the front's."""

    def inflate(self, packed: Packed, encoding: str) -> asyncio.Future[bytes]:
        """Undo the compression of a large message, outside the event loop. Raises DodonaError."""

    def chance(self) -> float:
        """A random number 0..1."""

    def turn_is_over(self, began_at: float) -> bool:
        """Whether the event loop's turn that began then (its own time, seconds) has taken long enough."""

    def catch_up_later(self, connection: "Http2Connection") -> None:
        """Call `catch_up` of the connection in a later turn, and again until it returns False."""


class Http2Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._woke = listener.woke
        self._loop = listener.loop
        self._unary = listener.unary
        self._http = Connection(listener.heads, listener.limits, listener.counters)
        self._live = Liveness(listener.limits, listener.loop.time())
        self._age = Age(listener.limits, listener.loop.time(), listener.chance())
        self._transport: asyncio.Transport | None = None
        self._parting: Parting | None = None
        self._corked = False
        self._waiting: deque[Event] = deque()
        """What came in a turn that was over."""
        self._reading = True
        self.answers = self._http.answers
        self.settle = listener.settle
        self.limits = listener.limits
        self.inflate = listener.inflate
        self.peer = ""

    # asyncio.Protocol

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's is none by class
        tls: SSLObject | None = transport.get_extra_info("ssl_object")
        if (tls is not None and tls.selected_alpn_protocol() != "h2") or not self._listener.admit(self):
            self._listener.counters.connections_refused += 1
            transport.abort()
            return
        transport.set_write_buffer_limits(high=self._listener.limits.write_buffer_bytes)
        self._transport = transport
        self.peer = address_text(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        self._woke()
        now = self._loop.time()
        self._live.seen_at = now
        events = self._http.receive(data, now)
        dealt = 0 if self._waiting else self._deal(events, now)
        if dealt < len(events):
            if not self._waiting:
                self._listener.catch_up_later(self)
            self._waiting.extend(events[dealt:])
            self._throttle()
        events.clear()  # an idle connection is not to keep its last message alive

    def catch_up(self, now: float) -> bool:
        """Deal with what waits, in a turn of the loop that began at `now`; False once nothing waits any more."""
        waiting = self._waiting
        for _ in range(self._deal(waiting, now)):
            waiting.popleft()
        self._throttle()
        return bool(waiting)

    def _deal(self, events: Iterable[Event], now: float) -> int:
        """Returns with how many of them; the rest is for a later turn.

        A caller that sends much at once, or many who do, are not to keep the loop from the links to the workers: with
        the answers that lie there would go the room for further work, and the workers would idle while callers wait.
        """
        self._corked = True  # replies given at once wait for the one write below
        turn_is_over = self._listener.turn_is_over
        dealt = 0
        for event in events:
            if not dealt % _AT_ONCE and turn_is_over(now):
                break
            if type(event) is UnaryArrived:
                self._start(event.stream, event.message)
            else:
                self._on_event(event)
            dealt += 1
        self._corked = False
        self.flush()
        return dealt

    def pause_writing(self) -> None:
        self._http.held = True
        self._throttle()

    def resume_writing(self) -> None:
        self._http.held = False
        self._throttle()
        if self._transport is not None and not self._transport.is_closing():
            self.flush_soon()

    def _throttle(self) -> None:
        """Read only while the caller takes its answers and little of what it sent waits."""
        transport = self._transport
        wanted = not self._http.held and len(self._waiting) <= _MOST_WAITING
        if transport is None or transport.is_closing() or wanted is self._reading:
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._transport = self._parting = None
        self._waiting.clear()
        self._break_off()
        self._listener.closed(self)

    def _break_off(self) -> None:
        """Nobody will read the answers of the calls that are open."""
        for stream in list(self._http.streams.values()):
            self.answers.close(stream)
            self._gone(stream)

    # Calls

    def _start(self, stream: Stream, message: bytes) -> None:
        if stream.closed:  # cancelled behind its request, in the same bytes
            return
        call = Http2UnaryCall(self, stream, message)
        if stream.head.timeout_s is not None and not self._watch(call, stream):
            return
        try:
            self._unary[stream.head.path](call)
        except DodonaError as error:
            call.fail(error)
        except Exception:
            log.exception("unary call failed", extra={"path": call.path, "peer": self.peer})
            call.fail(InternalError("internal error"))

    def _start_inflated(self, stream: Stream, packed: Packed) -> None:
        """Inflate a large message beside the event loop, then start its call as if it had just come."""

        def inflated(message: asyncio.Future[bytes]) -> None:
            if stream.closed or message.cancelled():  # the caller, or the front, has gone
                return
            try:
                self._start(stream, message.result())
            except DodonaError as error:
                self._http.refuse_message(stream, error)
            self.flush_soon()

        self._listener.inflate(packed, stream.head.encoding).add_done_callback(inflated)

    def _start_streaming(self, stream: Stream) -> None:
        if stream.closed:
            return
        call = Http2StreamCall(self, stream)
        if stream.head.timeout_s is None or self._watch(call, stream):
            self._listener.run(call, self._run(call))

    async def _run(self, call: Http2StreamCall) -> None:
        try:
            await self._listener.streaming[call.path](call)
        except DodonaError as error:
            call.fail(error)
        except Exception:
            log.exception("streaming call failed", extra={"path": call.path, "peer": self.peer})
            call.fail(InternalError("internal error"))
        except asyncio.CancelledError:
            call.fail(Cancelled("the call was broken off"))  # of no effect if the caller has gone
            raise
        else:
            call.finish()

    def _watch(self, call: Http2Call, stream: Stream) -> bool:
        """Set the call's deadline; False if it has passed already."""
        assert stream.head.timeout_s is not None
        call.deadline = deadline = stream.opened_at + stream.head.timeout_s
        if deadline <= self._loop.time():
            call.fail(DeadlineExceeded("the deadline had passed on arrival", field="grpc-timeout"))
            return False
        self._listener.watch(call, deadline)
        return True

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ConnectionFailed):
            log.info("connection failed: %s", event.error, extra={"peer": self.peer, "code": event.error.code.name})
            return
        call = event.stream.call
        if isinstance(event, CallOpened):
            self._start_streaming(event.stream)
        elif isinstance(event, CallGone):
            self._gone(event.stream)
        elif isinstance(event, UnaryPacked):
            self._start_inflated(event.stream, event.packed)
        elif isinstance(call, Http2StreamCall):
            if isinstance(event, MessageArrived):
                call.arrived(event.packed)
            elif isinstance(event, HalfClosed):
                call.half_closed()

    def _gone(self, stream: Stream) -> None:
        if isinstance(stream.call, Http2Call):
            stream.call.gone()

    # Writing

    def flush_soon(self) -> None:
        if not self._corked:
            self._corked = True
            self._listener.flush_soon(self)

    def flush(self) -> None:
        """Write everything that waits, in one piece."""
        self._corked = False
        transport, http = self._transport, self._http
        if transport is None:
            return
        out = http.take()
        if out:
            transport.write(out)
        for stream in http.take_drained():
            if isinstance(stream.call, Http2StreamCall):
                stream.call.sent()
        if http.has_more:
            self.flush_soon()
        elif http.done:
            self._transport = None  # from here on the connection is the parting's
            self._parting = Parting(transport, self._listener.limits, self._loop, self.connection_lost)
            self._break_off()

    # Draining and the passing of time

    def start_drain(self) -> None:
        self._http.control.start_drain()
        self.flush()

    def finish_drain(self) -> None:
        self._http.control.finish_drain()
        self.flush()

    def give_up(self, why: str = "the server is shutting down") -> None:
        """Grace is over: answer what is still open, and close."""
        for stream in list(self._http.streams.values()):
            self._expire(stream, Unavailable(why, remedy="retry elsewhere"))
        self.finish_drain()

    def _grow_old(self, now: float) -> None:
        stage = self._age.check(now)
        if stage is Stage.START_DRAIN:
            self._listener.counters.aged += 1
            self.start_drain()
        elif stage is Stage.FINISH_DRAIN:
            self.finish_drain()
        elif stage is Stage.GIVE_UP:
            self.give_up("the connection is above router.limits.max_connection_age_s")

    def abort(self) -> None:
        ending = self._transport or self._parting
        if ending is not None:
            ending.abort()

    def check(self, now: float) -> None:
        """Drop the connection if its peer is gone or stuck; end calls that are."""
        if self._transport is None:
            return
        buffered = self._transport.get_write_buffer_size()
        verdict = self._live.check(now, prefaced=self._http.prefaced, write_buffer_bytes=buffered)
        if verdict is Verdict.DROP:
            self._listener.counters.dropped += 1
            self._transport.abort()
            return
        if verdict is Verdict.PING:
            self._http.control.ping()
        limits, streams = self._listener.limits, self._http.streams
        for stream in slow_uploads(streams.values(), limits, now):
            self._expire(stream, DeadlineExceeded("the request did not arrive in time", remedy="send it faster"))
        for stream in stalled(streams.values(), limits, now):
            self.answers.cancel(stream)
            self._gone(stream)
        self._grow_old(now)
        self.flush()

    def _expire(self, stream: Stream, error: DodonaError) -> None:
        if isinstance(stream.call, Http2Call):
            stream.call.expire(error)
        else:
            self.answers.fail(stream, error)


def address_text(address: object) -> str:
    """A socket's address as people write it."""
    if not isinstance(address, tuple):
        return str(address or "")  # a unix socket
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
