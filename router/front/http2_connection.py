"""One client connection: the asyncio shell around router.http2.Connection.

Hot path: `data_received` -> the edge's function -> `Http2UnaryCall.reply`, and one `write` at the end of the turn.
"""

import asyncio
from ssl import SSLObject
from typing import Final, cast

from router.front.calls import Metadata
from router.front.http2_arrivals import Arrivals, gone
from router.front.http2_calls import Http2Call, Http2StreamCall
from router.front.http2_listener import Listener
from router.front.parting import Parting
from router.front.valve import Valve
from router.http2.age import Age, Stage
from router.http2.connection import Connection
from router.http2.grpc_message import Message
from router.http2.liveness import Liveness, Verdict, slow_uploads, stalled
from router.http2.streams import Event, Stream
from router.refusals import StandingShed
from serving.errors import DeadlineExceeded, DodonaError, Unavailable

_AT_ONCE: Final = 8
"""Requests between two looks at the clock."""
_MOST_UNREAD: Final = 64 * 1024
"""Bytes that came in a turn that was over, beyond which the connection is not read from its socket."""


class Http2Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._woke = listener.woke
        self._loop = listener.loop
        self._http = Connection(listener.heads, listener.limits, listener.counters, listener.bars)
        self._arrivals = Arrivals(self, listener, self._http)
        self._live = Liveness(listener.limits, listener.loop.time())
        self._age = Age(listener.limits, listener.loop.time(), listener.chance())
        self._transport: asyncio.Transport | None = None
        self._parting: Parting | None = None
        self._corked = False
        self._valve = Valve()
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
        unread = self._http.unread
        if unread:
            unread.add(data, now)
            self._throttle()
            return
        if self._listener.turn_is_over(now):
            unread.add(data, now)
        else:
            self._deal(self._http.receive(data, now, _AT_ONCE), now)
        if unread:
            self._listener.catch_up_later(self)
            self._throttle()

    def catch_up(self, now: float) -> bool:
        """Deal with what waits, in a turn of the loop that began at `now`; False once nothing waits any more."""
        if not self._listener.turn_is_over(now):
            self._deal(self._http.read_on(_AT_ONCE), now)
        self._throttle()
        return bool(self._http.unread)

    def _deal(self, events: list[Event], now: float) -> None:
        """Deal with them and with what is unread, as far as this turn lasts.

        A caller that sends much at once, or many who do, are not to keep the loop from the links to the workers: with
        the answers that lie there would go the room for further work, and the workers would idle while callers wait.
        """
        self._corked = True  # replies given at once wait for the one write below
        http, begin = self._http, self._arrivals.begin
        while True:
            begin(events)
            if not http.unread or self._listener.turn_is_over(now):
                break
            events = http.read_on(_AT_ONCE)
        events.clear()  # an idle connection is not to keep its last message alive
        self._corked = False
        self.flush()

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
        self._valve.set(self._transport, wanted=not self._http.held and self._http.unread.size <= _MOST_UNREAD)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._transport = self._parting = None
        self._http.unread.clear()
        self._break_off()
        self._arrivals.close()
        self._listener.closed(self)

    def _break_off(self) -> None:
        """Nobody will read the answers of the calls that are open."""
        for stream in list(self._http.streams.values()):
            self.answers.close(stream)
            gone(stream)

    def bar(self, stream: Stream, message: Message, error: StandingShed, echo: Metadata) -> None:
        self._arrivals.bar(stream, message, error, echo)

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
            gone(stream)
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
