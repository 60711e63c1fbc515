"""One client connection: the asyncio shell around router.http1.Connection.

Hot path: `data_received` -> `Application.start` -> `Http1Exchange.reply` -> one write, which the event loop sends at
the end of its turn. No task, coroutine, future or timer for a request; time is looked at by one sweep of the listener.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, Protocol, cast

from router.front.exchange import Application
from router.front.http1_exchange import Http1Exchange
from router.front.patience import Patience
from router.front.valve import Valve
from router.http1 import replies
from router.http1.connection import Arrived, Connection, Event, Opened, Refused, State
from router.http1.heads import HeadReader
from router.http2.age import Age, Stage
from router.settings import Limits
from serving.spinning import Woke

__all__ = ["Http1Connection", "Listener", "Patience"]

log = logging.getLogger(__name__)

_WRITE_BUFFER: Final = 1024 * 1024  # bytes that a caller may leave unread before its connection counts as jammed
_IN_A_TURN: Final = 16  # requests sent ahead that are begun in one turn of the event loop


class Listener(Protocol):
    """What the connections of one listener share."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    patience: Patience
    heads: HeadReader
    application: Application
    woke: Woke
    """To be called when bytes arrive, before anything else."""
    date: bytes
    """The Date header's line."""

    def admit(self, connection: "Http1Connection") -> bool:
        """Whether there is room for one more connection."""

    def closed(self, connection: "Http1Connection") -> None: ...

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the listener's."""

    def chance(self) -> float:
        """A random number 0..1."""


class Http1Connection(asyncio.Protocol):
    def __init__(self, listener: Listener) -> None:
        limits = listener.limits
        self._listener = listener
        self._woke = listener.woke
        self._start = listener.application.start
        self._http = Connection(listener.heads, limits.max_header_bytes, limits.max_message_bytes)
        self._transport: asyncio.Transport | None = None
        self._exchange: Http1Exchange | None = None
        self._in_turn = 0
        self._pumping = False
        self._valve = Valve()
        now = listener.loop.time()
        self._since = now
        """When what is waited for began to be: the next request, the rest of a head, or of a body."""
        self._seen_at = now
        self._opened_at = now
        self._unread = -1
        """Bytes the caller had not taken at the last look, -1 while there is no jam."""
        self._lingers = False
        self._close_at = 0.0
        """When a transport that is closing, but whose caller takes nothing, is cut; 0 while it is open."""
        self._age = Age(limits, now, listener.chance())

    # asyncio.Protocol

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, base)  # uvloop's is none by class
        if not self._listener.admit(self):
            limit = self._listener.limits.max_connections
            self._refuse(503, f"router.limits.max_connections is {limit}; try again, or raise the setting")
            transport.close()
            self._transport = None
        else:
            transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._woke()
        http = self._http
        if http.state is State.OVER:
            return
        now = self._seen_at = self._listener.loop.time()
        was_idle = http.idle
        event = http.receive(data)
        if was_idle and (event is not None or not http.idle):  # empty lines are no beginning
            self._since = self._opened_at = now
        if event is None:
            self._after_reading()
        else:
            self._pump(event)

    def pause_writing(self) -> None:
        self._unread = self._transport.get_write_buffer_size() if self._transport is not None else 0
        self._since = self._listener.loop.time()
        self._throttle()

    def resume_writing(self) -> None:
        self._unread = -1
        self._since = self._listener.loop.time()
        self._throttle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._transport = None
        self._http.state = State.OVER
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone()
        self._listener.closed(self)

    # Requests

    def _pump(self, event: Event | None) -> None:
        """Take events until there is none, or a request is at work. What answers at once comes back here."""
        if self._pumping:
            return
        self._pumping = True
        while event is not None:
            if type(event) is Arrived:
                self._begin(event)
                event = None
                if self._exchange is None and self._in_turn < _IN_A_TURN:
                    event = self._http.answered()
                    self._in_turn += event is not None
                elif self._exchange is None:
                    self._listener.loop.call_soon(self._next_turn)
            elif type(event) is Opened:
                event = self._open(event)
            else:
                assert isinstance(event, Refused)
                self._refuse(event.error.http_status, str(event.error))
                event = None
        self._pumping = False
        self._after_reading()

    def _next_turn(self) -> None:
        self._in_turn = 0
        if self._transport is not None:
            self._pump(self._http.answered())

    def _begin(self, request: Arrived) -> None:
        exchange = self._exchange = Http1Exchange(self, request.head, request.body, request.fault, self._opened_at)
        self._start(exchange)

    def _open(self, event: Opened) -> Event | None:
        error = self._listener.application.vet(event.head)
        if error is not None:
            return self._http.refuse(error)
        following = self._http.go_on()
        if following is None and event.head.expects and self._transport is not None:
            self._transport.write(replies.CONTINUE)
        return following

    def _after_reading(self) -> None:
        if self._http.state is State.OVER and self._exchange is None:
            self._leave()
        elif self._http.full is self._valve.open:
            self._throttle()

    def _throttle(self) -> None:
        """Read only while there is room for what comes and the caller takes what it asked for."""
        self._valve.set(self._transport, wanted=not self._http.full and self._unread < 0)

    # For exchanges (http1_exchange.Carrier).

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._listener.run(work)

    def answer(self, exchange: Http1Exchange, status: int, lines: bytes, body: bytes) -> None:
        transport, http, head = self._transport, self._http, exchange.head
        if transport is None or exchange is not self._exchange:
            return
        self._exchange = None
        lines = self._listener.date + lines
        if http.closes:
            lines += replies.CLOSE
        elif head.old:
            lines += replies.KEEP
        for piece in replies.answer(status, lines, body, without_body=head.method == "HEAD"):
            transport.write(piece)
        if self._pumping:  # the loop there goes on
            return
        self._since = self._opened_at = self._listener.loop.time()
        self._in_turn = 0
        following = http.answered()
        if following is None:
            self._after_reading()
        else:
            self._pump(following)

    # Ends, and the passing of time.

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and end the connection. In the middle of another answer there is nothing to
        say."""
        self._http.state = State.OVER
        if self._transport is not None and self._exchange is None:
            self._transport.write(replies.refusal(status, message))

    def _leave(self) -> None:
        """Close once the caller has had time to read what is written. What it still sends is let pass: closing at once
        would make its system drop the answer before it was read."""
        transport = self._transport
        if transport is None or self._lingers:
            return
        self._lingers = True
        if transport.can_write_eof():
            transport.write_eof()
            self._listener.loop.call_later(self._listener.patience.ending_s, self._close)
        else:
            self._close()

    def _close(self) -> None:
        """What is written still goes out, if the caller takes it in time."""
        if self._transport is not None:
            self._transport.close()
            self._close_at = self._listener.loop.time() + self._listener.patience.stall_s

    def start_drain(self) -> None:
        """End behind the answer that is due; at once where none is."""
        self._http.closes = True
        if self._http.idle:
            self._close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def check(self, now: float) -> None:
        """Drop the connection if its caller is gone or stuck, or if it is old enough."""
        transport, patience, http = self._transport, self._listener.patience, self._http
        if transport is None:
            return
        if self._unread >= 0:
            self._check_taking(transport, now)
        elif self._close_at:
            if now >= self._close_at:
                transport.abort()
        elif http.state is State.BODY or http.skipping:
            self._check_sending(now)
        elif http.state is State.HEAD:
            if http.idle and now - self._since >= patience.keep_alive_s:
                self._close()
            elif not http.idle and now - self._since >= patience.head_s:
                self._refuse(408, "the head of the request took too long")
                self._leave()
        self._grow_old(now)

    def _check_taking(self, transport: asyncio.Transport, now: float) -> None:
        if now - self._since < self._listener.patience.stall_s:
            return
        waiting = transport.get_write_buffer_size()
        if waiting >= self._unread:
            transport.abort()
        self._unread = waiting
        self._since = now

    def _check_sending(self, now: float) -> None:
        http = self._http
        error = self._listener.patience.overdue(self._opened_at, self._seen_at, now)
        if error is None:
            return
        http.closes = True
        if http.state is State.BODY:
            self._pump(http.refuse(error))
        elif http.state is State.HEAD:  # answered long ago
            http.state = State.OVER
            self._leave()

    def _grow_old(self, now: float) -> None:
        """Idle connections end a while after they are old: at once, the next request could be on its way already."""
        stage = self._age.check(now)
        if stage is Stage.START_DRAIN:
            self._http.closes = True
        elif stage is Stage.FINISH_DRAIN:
            self.start_drain()
        elif stage is Stage.GIVE_UP:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.gone()
            self._refuse(503, "the connection is above router.limits.max_connection_age_s")
            self._leave()
