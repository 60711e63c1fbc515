"""The REST listener: uvicorn's HTTP/1.1 protocol (httptools) in the event loop that runs already.

uvicorn's `Server` owns a process: it takes the signals, polls ten times a second and exits where a port is taken. Here
it is one listener among others, so only its protocol class is used (`router.front.http1`), and listening, the Date
header and the drain are done here.
"""

import asyncio
import logging
from asyncio import TimerHandle
from email.utils import formatdate
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from router.front.http1 import Http1Connection, Patience
from router.front.tls import server_context
from router.settings import Limits, Tls

log = logging.getLogger(__name__)

_BACKLOG: Final = 2048


class RestFront:
    """A listening HTTP/1.1 server for an ASGI application. TLS where `tls.certificate` is set."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        limits: Limits,
        tls: Tls,
        *,
        patience: Patience | None = None,
        reuse_port: bool = False,
    ) -> None:
        """`reuse_port`: other processes that say so too may listen on the port as well."""
        self._limits = limits
        self._patience = patience or Patience()
        self._host = host
        self._port = port
        self._tls = tls
        self._reuse_port = reuse_port
        self._config = Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=self._patience.keep_alive_s,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._clock: TimerHandle | None = None
        self._empty = asyncio.Event()

    async def start(self) -> str:
        """Listen; returns the bound address "host:port". Raises OSError, ConfigurationError (TLS files)."""
        self._config.load()
        loop = asyncio.get_running_loop()
        context = server_context(self._tls, "http/1.1")
        self._server = await loop.create_server(
            self._connection,
            self._host,
            self._port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_port=self._reuse_port or None,
            ssl_handshake_timeout=self._patience.handshake_s if context else None,
        )
        self._tick()
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _connection(self) -> Http1Connection:
        return Http1Connection(
            self._limits, self._patience, self._lost, config=self._config, server_state=self._state, app_state={}
        )

    def _tick(self) -> None:
        """The Date header, right to the second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tick)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._state.connections)

    def _lost(self) -> None:
        """A connection has gone."""
        if not self._state.connections:
            self._empty.set()

    async def drain(self, grace_s: float) -> None:
        """Stop accepting and close idle connections; those in the middle of a request get `grace_s` for the reply
        and are cut then, which cancels what they wait for. Returns when all are closed; idempotent."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for connection in list(self._state.connections):
            cast(Http1Connection, connection).shutdown()
        await self._wait_until_empty(grace_s)
        if self._state.connections:
            log.warning("connections cut after the drain", extra={"connections": len(self._state.connections)})
        for connection in list(self._state.connections):
            cast(Http1Connection, connection).transport.abort()
        await self._end_tasks()
        await server.wait_closed()
        if self._clock is not None:
            self._clock.cancel()

    async def _end_tasks(self) -> None:
        """Endpoints see that their caller has gone and end by themselves; what does not is cancelled."""
        if self._state.tasks:
            _, stubborn = await asyncio.wait(set(self._state.tasks), timeout=self._patience.ending_s)
            for task in stubborn:
                task.cancel()

    async def _wait_until_empty(self, timeout_s: float) -> None:
        self._empty.clear()
        if not self._state.connections:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return
