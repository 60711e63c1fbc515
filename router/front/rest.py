"""The REST listener: Dodona's own HTTP/1.1 (router.http1) on asyncio, made for uvloop, content without.

It owns the listening socket, the connections, their tasks, one timer for the Date header, and one that looks after all
connections.
"""

import asyncio
import logging
import random
from asyncio import TimerHandle
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, Final

from router.front.exchange import Application
from router.front.http1 import Http1Connection
from router.front.patience import Patience
from router.front.tls import server_context
from router.http1.heads import HeadReader
from router.settings import Limits, Tls
from serving.spinning import Woke, never

log = logging.getLogger(__name__)

_BACKLOG: Final = 2048


class RestFront:
    """A listening HTTP/1.1 server for an application. TLS where `tls.certificate` is set."""

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        limits: Limits,
        tls: Tls,
        *,
        patience: Patience | None = None,
        reuse_port: bool = False,
        chance: Callable[[], float] = random.random,
        woke: Woke = never,
    ) -> None:
        """`reuse_port`: other processes that say so too may listen on the port as well. `chance`, 0..1, spreads the
        ages of connections."""
        self.application = application
        self.limits = limits
        self.patience = patience or Patience()
        self.heads = HeadReader(limits.max_header_bytes)
        self.chance = chance
        self.woke = woke
        self.date = b""
        self._address = (host, port)
        self._tls = tls
        self._reuse_port = reuse_port
        self._connections: set[Http1Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._clock: TimerHandle | None = None
        self._look: TimerHandle | None = None
        self._none_left = asyncio.Event()
        self._draining = False

    async def start(self) -> str:
        """Listen; returns the bound address "host:port". Raises OSError, ConfigurationError (TLS files)."""
        self.loop = asyncio.get_running_loop()
        context = server_context(self._tls, "http/1.1")
        host, port = self._address
        self._server = await self.loop.create_server(
            lambda: Http1Connection(self),
            host,
            port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_port=self._reuse_port or None,
            ssl_handshake_timeout=self.patience.handshake_s if context else None,
        )
        self._tick()
        self._look_after()
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _tick(self) -> None:
        """The Date header, right to the second."""
        self.date = b"date: %s\r\n" % formatdate(usegmt=True).encode()
        self._clock = self.loop.call_later(1.0, self._tick)

    def _look_after(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.check(now)
        pause_s = self.patience.look_every_s(self.limits.max_connection_age_s)
        self._look = self.loop.call_later(pause_s, self._look_after)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    # For connections (http1.Listener).

    def admit(self, connection: Http1Connection) -> bool:
        if self._draining or len(self._connections) >= self.limits.max_connections:
            return False
        self._connections.add(connection)
        self._none_left.clear()
        return True

    def closed(self, connection: Http1Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The end.

    async def drain(self, grace_s: float) -> None:
        """Stop accepting and close idle connections; those in the middle of a request get `grace_s` for the reply
        and are cut then, which cancels what they wait for. Returns when all are closed; idempotent."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self._draining = True
        server.close()
        for connection in list(self._connections):
            connection.start_drain()
        if not await self._closed(grace_s):
            log.warning("connections cut after the drain", extra={"connections": len(self._connections)})
        for connection in list(self._connections):
            connection.abort()
        if self._tasks:  # their callers have gone, so they were cancelled
            await asyncio.wait(set(self._tasks), timeout=self.patience.ending_s)
        await self.application.close()
        await server.wait_closed()
        for timer in (self._clock, self._look):
            if timer is not None:
                timer.cancel()

    async def _closed(self, timeout_s: float) -> bool:
        if not self._connections:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._none_left.wait()
        except TimeoutError:
            return False
        return True
