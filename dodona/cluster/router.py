"""The router as a child process: started, watched, and started again with back-off when it dies."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from router.settings import RouterSettings
from serving.agent.child import Child, StatusLine, write_private
from serving.agent.placement import cause_of

ROUTER_COMMAND: Final = (sys.executable, "-P", "-m", "dodona.cluster.bound")
ENDS_WITHIN_S: Final = 5.0
"""Seconds that a router may take to end, beyond its own drain_grace_s."""
_DELAY_S: Final = 0.5
_DELAY_MAX_S: Final = 30.0
_HEALTHY_AFTER_S: Final = 60.0
_log = logging.getLogger(__name__)


class RouterProcess:
    """`run` keeps a router running until `stop`. `listeners` names what it listens on: grpc, http, metrics, link."""

    def __init__(
        self,
        settings: RouterSettings,
        settings_file: Path,
        *,
        command: Sequence[str] = ROUTER_COMMAND,
        stderr: int | None = None,
    ) -> None:
        self.settings = settings
        """Once it listens, with the ports it really has."""
        self._file = settings_file
        grace_s = settings.drain_grace_s + ENDS_WITHIN_S
        self.command = (*command, f"{grace_s:g}", "router", "--settings", str(settings_file))
        self._stderr = stderr
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it listens; never, if the first process ends before that: then `run` returns."""
        self.listeners: Mapping[str, str] = {}
        self.links: Sequence[str] = ()
        """Where agents and workers dial in: one address a router process, the first is `listeners["link"]`."""
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def stop(self) -> None:
        """Drain: what was accepted is answered, then the process goes."""
        self._stopping.set()
        if self._child:
            self._child.terminate()

    def kill(self) -> None:
        self._stopping.set()
        if self._child:
            self._child.kill()

    async def run(self) -> int:
        """The return code of the last process."""
        loop = asyncio.get_running_loop()
        delay_s = _DELAY_S
        try:
            while True:
                born_at = loop.time()
                code = await self._live()
                if self._stopping.is_set() or not self.started.done():
                    return code
                if loop.time() - born_at >= _HEALTHY_AFTER_S:
                    delay_s = _DELAY_S
                _log.error("router died", extra={"cause": cause_of(code), "restart_in_s": delay_s})
                self.restarts += 1
                if await self._stopped_within(delay_s):
                    return code
                delay_s = min(delay_s * 2, _DELAY_MAX_S)
        finally:
            self._file.unlink(missing_ok=True)

    async def _live(self) -> int:
        write_private(self._file, _plain(self.settings))
        self._child = Child(self.command, self._line, stderr=self._stderr)
        try:
            return await self._child.run()
        finally:
            self._child = None

    def _line(self, line: StatusLine) -> None:
        listeners = line.get("listeners")
        if line.get("event") != "started" or not isinstance(listeners, dict):
            return
        self.listeners = {str(name): str(address) for name, address in listeners.items()}
        links = line.get("links")
        self.links = [str(link) for link in links] if isinstance(links, list) else [self.listeners["link"]]
        self.settings = _pinned(self.settings, self.listeners)
        if not self.started.done():
            self.started.set_result(None)
        if self._stopping.is_set() and self._child:
            self._child.terminate()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _pinned(settings: RouterSettings, listeners: Mapping[str, str]) -> RouterSettings:
    """The settings for a restart: callers and workers must find it where it was, also where any free port was asked
    for."""
    ports = {
        f"{name}_port": int(address.rpartition(":")[2])
        for name, address in listeners.items()
        if name in ("grpc", "http", "metrics")
    }
    link = settings.link.model_copy(update={"address": listeners.get("link", settings.link.address)})
    return settings.model_copy(update={**ports, "link": link})


def _plain(settings: RouterSettings) -> Mapping[str, object]:
    """As JSON, with the token in clear: the file is for the router's eyes only."""
    values = settings.model_dump(mode="json")
    values["link"]["token"] = settings.link.token.get_secret_value()
    return values
