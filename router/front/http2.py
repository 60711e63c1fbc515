"""The default gRPC front: Dodona's own HTTP/2 server (router.http2) on asyncio, made for uvloop, content without.

It owns the listening socket, the connections, one timer for all deadlines, one sweep over all connections, and the
tasks of streaming calls.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from router.alarm import Alarm
from router.front.calls import Methods, Stream, Unary
from router.front.http2_calls import Http2Call, Http2StreamCall
from router.front.http2_connection import Http2Connection, address_text
from router.front.tls import server_context
from router.http2.counters import Counters
from router.http2.grpc_message import Message, Packed, unpack
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from router.http2.turnstile import Bars
from router.policy.deadlines import DeadlineSlots
from router.settings import Limits, Tls
from serving.errors import DeadlineExceeded
from serving.spinning import Woke, never

log = logging.getLogger(__name__)

_BACKLOG = 1024
# What a peer gets to hear GOAWAY, and to take the last bytes, at most, while draining.
_FAREWELL_S = 1.0
_LONGEST_SWEEP_S = 5.0
# What callers may take of one turn of the event loop. uvloop's time is that of the turn's beginning, in whole
# milliseconds (so between one and two are left); asyncio's own goes on, and the bound is never reached there.
_TURN_S = 0.002


class Http2Front:
    """Fulfils router.front.calls.Front. `http2` overrides every bound; by default they follow from `limits`."""

    def __init__(
        self,
        methods: Methods,
        host: str,
        port: int,
        limits: Limits,
        tls: Tls,
        *,
        http2: Http2Limits | None = None,
        reuse_port: bool = False,
        chance: Callable[[], float] = random.random,
        woke: Woke = never,
    ) -> None:
        """`chance`, 0..1, spreads the ages of connections; `reuse_port`: other processes that say so too may listen on
        the port as well. Raises ConfigurationError for an unusable certificate."""
        self.limits = http2 or Http2Limits.of(limits)
        self.counters = Counters()
        self.chance = chance
        self.woke = woke
        self.unary = {path: method.start for path, method in methods.items() if isinstance(method, Unary)}
        self.streaming = {path: method.run for path, method in methods.items() if isinstance(method, Stream)}
        self.heads = HeadReader({path: path in self.unary for path in methods}, self.limits)
        self.bars = Bars()
        self._address = (host, port)
        self._reuse_port = reuse_port or None
        self._tls = server_context(tls, "h2")
        self._server: asyncio.Server | None = None
        self._connections: set[Http2Connection] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._draining = False
        self._to_flush: list[Http2Connection] = []
        self._behind: deque[Http2Connection] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # One thread: zlib leaves the interpreter free, and one caller's large messages are not to take every core.
        self._inflater = ThreadPoolExecutor(1, "inflate")
        self._inflating: set[asyncio.Future[Message]] = set()
        self._deadlines: DeadlineSlots[Http2Call] = DeadlineSlots()
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def start(self) -> str:
        self.loop = asyncio.get_running_loop()
        self._alarm = Alarm(self.loop.call_at, self._expire)
        host, port = self._address
        self._server = await self.loop.create_server(
            lambda: Http2Connection(self),
            host,
            port,
            ssl=self._tls,
            backlog=_BACKLOG,
            reuse_port=self._reuse_port,
        )
        self._sweep()
        return address_text(self._server.sockets[0].getsockname())

    async def drain(self, grace_s: float) -> None:
        """Returns when every connection is closed, at the latest a little over `grace_s` seconds from now."""
        if self._server is None:
            return
        self._draining = True
        self._server.close()
        give_up_at = self.loop.time() + grace_s
        for connection in list(self._connections):
            connection.start_drain()
        await self._closed(min(grace_s, _FAREWELL_S))
        for connection in list(self._connections):
            connection.finish_drain()
        if not await self._closed(give_up_at - self.loop.time()):
            log.warning("calls cut off", extra={"connections": len(self._connections), "grace_s": grace_s})
        for connection in list(self._connections):
            connection.give_up()
        if not await self._closed(_FAREWELL_S):
            for connection in list(self._connections):
                connection.abort()
            await self._none_left.wait()  # an abort needs no peer, only a turn of the loop
        for task in self._tasks:
            task.cancel()
        for message in self._inflating:
            message.cancel()
        await asyncio.gather(*self._tasks, *self._inflating, return_exceptions=True)
        self._inflater.shutdown(wait=False, cancel_futures=True)
        self._alarm.cancel()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        await self._server.wait_closed()

    async def _closed(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._none_left.wait(), max(timeout_s, 0.0))
        except TimeoutError:
            return False
        return True

    # For connections (http2_connection.Listener).

    def admit(self, connection: Http2Connection) -> bool:
        if self._draining or len(self._connections) >= self.limits.max_connections:
            return False
        self.counters.connections += 1
        self.counters.connections_open += 1
        self._connections.add(connection)
        self._none_left.clear()
        return True

    def closed(self, connection: Http2Connection) -> None:
        if connection in self._connections:
            self.counters.connections_open -= 1
            self._connections.remove(connection)
            if not self._connections:
                self._none_left.set()

    def flush_soon(self, connection: Http2Connection) -> None:
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        waiting, self._to_flush = self._to_flush, []
        for connection in waiting:
            connection.flush()

    def turn_is_over(self, began_at: float) -> bool:
        return monotonic() - began_at > _TURN_S

    def catch_up_later(self, connection: Http2Connection) -> None:
        if not self._behind:
            self.loop.call_soon(self._catch_up)
        self._behind.append(connection)

    def _catch_up(self) -> None:
        """One after the other, as far as this turn lasts; who has more comes last."""
        began_at = self.loop.time()
        for _ in range(len(self._behind)):
            connection = self._behind.popleft()
            if connection.catch_up(began_at):
                self._behind.append(connection)
            if self.turn_is_over(began_at):
                break
        if self._behind:
            self.loop.call_soon(self._catch_up)

    def run(self, call: Http2StreamCall, work: Awaitable[None]) -> None:
        task = call.task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def inflate(self, packed: Packed, encoding: str) -> asyncio.Future[Message]:
        message = self.loop.run_in_executor(self._inflater, unpack, packed, encoding, self.limits.max_message_bytes)
        self._inflating.add(message)
        message.add_done_callback(self._inflating.discard)
        return message

    def watch(self, call: Http2Call, deadline: float) -> None:
        call.tick = self._deadlines.add(call, deadline)
        if deadline < self._alarm.at:
            self._alarm.set(self._deadlines.next_due())

    def settle(self, call: Http2Call) -> None:
        self._deadlines.discard(call, call.tick)

    def _expire(self) -> None:
        for call in self._deadlines.expire(self.loop.time()):
            call.expire(DeadlineExceeded("the deadline passed before the answer", field="grpc-timeout"))
        self._alarm.set(self._deadlines.next_due())

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.check(now)
        self._sweep_timer = self.loop.call_later(_sweep_interval_s(self.limits), self._sweep)


def _sweep_interval_s(limits: Http2Limits) -> float:
    """Often enough that no timeout is missed by more than half."""
    shortest = min(
        limits.handshake_timeout_s,
        limits.keepalive_idle_s,
        limits.keepalive_timeout_s,
        limits.write_stall_s,
        limits.upload_timeout_s,
        limits.max_connection_age_s or _LONGEST_SWEEP_S,
    )
    return min(_LONGEST_SWEEP_S, shortest / 2)
