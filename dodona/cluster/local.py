"""A router, an agent and its workers on this machine, started and ended together.

    async with LocalCluster(settings) as cluster:
        await cluster.ready()
        ... cluster.grpc_address, cluster.http_address ...

Order matters at both ends. The router comes first, because workers dial it. It also goes first: it stops accepting,
what it accepted is answered by the workers, which still run, and only then are they drained.
"""

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydantic import SecretStr

from dodona.cluster.addresses import forget_addresses, write_addresses
from dodona.cluster.ports import taken_port
from dodona.cluster.router import ENDS_WITHIN_S, ROUTER_COMMAND, RouterProcess
from dodona.cluster.run_folder import RunFolder, open_log
from dodona.config.settings import ClusterSettings
from router.settings import Link
from serving.agent.agent import Agent
from serving.agent.fleet import WORKER_COMMAND
from serving.agent.placement import cause_of
from serving.agent.plan import VersionStatus
from serving.agent.settings import AgentSettings
from serving.errors import Unavailable

_LAST_WORDS_BYTES: Final = 64 * 1024
_log = logging.getLogger(__name__)


class ClusterError(Unavailable):
    """The cluster could not start, or not in time."""


class LocalCluster:
    """`on_change` is called whenever a version's state changes."""

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        on_change: Callable[["LocalCluster"], None] = lambda _: None,
        router_command: Sequence[str] = ROUTER_COMMAND,
        worker_command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self.settings = settings
        self.log_path = _log_path(settings)
        """Where the child processes log to; None = our standard error."""
        self._log: int | None = None
        self._on_change = on_change
        self._router_command = router_command
        self._worker_command = worker_command
        self._folder: RunFolder | None = None
        self._router: RouterProcess | None = None
        self._agent: Agent | None = None
        self._router_task: asyncio.Task[int] | None = None
        self._agent_task: asyncio.Task[None] | None = None

    # Where it is

    @property
    def grpc_address(self) -> str:
        """`host:port`; raises ClusterError before the cluster has started, as the others do."""
        return self._listener("grpc")

    @property
    def http_address(self) -> str:
        return self._listener("http")

    @property
    def metrics_address(self) -> str:
        return self._listener("metrics")

    @property
    def link_address(self) -> str:
        return self._listener("link")

    # What it does

    @property
    def versions(self) -> Sequence[VersionStatus]:
        return self._agent.index if self._agent else ()

    @property
    def repository_fault(self) -> str:
        """Why the repository cannot be read; empty = it can."""
        return self._agent.repository_fault if self._agent else ""

    @property
    def settled(self) -> bool:
        """Whether the repository was looked at and no version is loading."""
        return self._agent is not None and self._agent.settled

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: "router", and the workers'."""
        pids = dict(self._agent.pids) if self._agent else {}
        if self._router and self._router.pid is not None:
            pids["router"] = self._router.pid
        return pids

    # Life

    async def start(self) -> None:
        """Returns once the router listens; models load meanwhile. Raises ClusterError, ConfigurationError."""
        self._folder = RunFolder(self.settings.run_folder)
        try:
            self._log = None if self.log_path is None else open_log(self.log_path)
            await self._start_router(self._folder)
            write_addresses(self._folder.path, self._router_listeners())
            self._start_agent(self._folder)
        except BaseException:
            self.kill()
            await self.stop()
            raise

    async def ready(self, timeout_s: float | None = None) -> Sequence[VersionStatus]:
        """Every version, once each is ready or has a reason why not. Raises ClusterError after `timeout_s`."""
        if self._agent is None or self._agent_task is None:
            raise ClusterError("the cluster has not started", remedy="use `async with`, or await start()")
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        while not self._agent.settled:
            if self._agent_task.done():
                self._agent_task.result()
            change = asyncio.create_task(self._agent.changed())
            left_s = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
            try:
                done, _ = await asyncio.wait([change, self._agent_task], timeout=left_s, return_when="FIRST_COMPLETED")
            finally:
                change.cancel()
                await asyncio.gather(change, return_exceptions=True)
            if not done:
                loading = ", ".join(str(version.spec) for version in self.versions if version.state == "LOADING")
                raise ClusterError(f"not ready after {timeout_s:g} s: {loading or 'no look at the repository yet'}")
        return self.versions

    async def ended(self) -> None:
        """Returns if a part of the cluster ends by itself, which only a fault of ours makes it do. Raises that."""
        tasks = [task for task in (self._router_task, self._agent_task) if task]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Drain: the router answers what it accepted, then the workers go. Bounded by both graces."""
        if self._router and self._router_task:
            self._router.stop()
            grace_s = self.settings.router.drain_grace_s + ENDS_WITHIN_S
            _, late = await asyncio.wait([self._router_task], timeout=grace_s)
            if late:
                _log.error("router is killed", extra={"reason": f"was still draining after {grace_s:g} s"})
                self._router.kill()
            await asyncio.gather(self._router_task, return_exceptions=True)
        if self._agent and self._agent_task:
            self._agent.stop()
            await asyncio.gather(self._agent_task, return_exceptions=True)
        if self._folder is not None:
            forget_addresses(self._folder.path)
            self._folder.close()
        if self._log is not None:
            os.close(self._log)
            self._log = None
        self._router = self._agent = self._router_task = self._agent_task = self._folder = None

    def kill(self) -> None:
        """End every process now, answered or not. `stop` then returns soon."""
        if self._router:
            self._router.kill()
        if self._agent:
            self._agent.kill()

    async def __aenter__(self) -> "LocalCluster":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Parts

    async def _start_router(self, folder: RunFolder) -> None:
        settings = self.settings.router.model_copy(update={"link": self._link(folder)})
        taken, remedy = taken_port(settings)
        if taken:
            raise ClusterError(taken, remedy=remedy)
        self._router = RouterProcess(
            settings, folder.path / "router.json", command=self._router_command, stderr=self._log
        )
        before = _size(self.log_path)
        self._router_task = asyncio.create_task(self._router.run())
        first: list[asyncio.Future[Any]] = [self._router_task, self._router.started]
        await asyncio.wait(
            first,
            timeout=self.settings.start_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._router.started.done():
            return
        words = _last_words(self.log_path, before)
        if self._router_task.done():
            cause = cause_of(self._router_task.result())
            raise ClusterError(
                words or f"the router {cause} before it listened", remedy="" if words else self._log_hint
            )
        raise ClusterError(
            f"the router does not listen after {self.settings.start_timeout_s:g} s",
            remedy=f"{self._log_hint}, or raise start_timeout_s",
        )

    @property
    def _log_hint(self) -> str:
        return "its own words are above" if self.log_path is None else f"see {self.log_path}"

    def _link(self, folder: RunFolder) -> Link:
        """The link with a place of its own and always a token: the socket's folder is private, a port is not."""
        link = self.settings.router.link
        address = link.address
        if address == Link().address:
            address = f"unix:{folder.socket('link.sock')}"
        elif address.startswith("unix:"):
            address = f"unix:{Path(address.removeprefix('unix:')).absolute()}"
        token = link.token if link.token.get_secret_value() else SecretStr(secrets.token_hex(16))
        return link.model_copy(update={"address": address, "token": token})

    def _start_agent(self, folder: RunFolder) -> None:
        assert self._router is not None
        settings = AgentSettings(
            repository=self.settings.repository,
            routers=tuple(self._router.links),
            token=self._router.settings.link.token,
            run_folder=str(folder.path),
            workers=dict(self.settings.workers),
            supervise=self.settings.supervise,
            max_frame_bytes=self.settings.router.link.max_frame_bytes,
            log_level=self.settings.log_level,
            tracing=self.settings.router.tracing,
        )
        self._agent = Agent(
            settings, command=self._worker_command, stderr=self._log, on_change=lambda _: self._on_change(self)
        )
        self._agent_task = asyncio.create_task(self._agent.run())

    def _router_listeners(self) -> Mapping[str, str]:
        return self._router.listeners if self._router else {}

    def _listener(self, name: str) -> str:
        listeners = self._router_listeners()
        if name not in listeners:
            raise ClusterError(f"the router does not listen for {name}", remedy="start the cluster first")
        return listeners[name]


def _log_path(settings: ClusterSettings) -> Path | None:
    if settings.log_file == "auto":
        return Path(settings.run_folder).absolute() / "dodona.log" if sys.stderr.isatty() else None
    return None if settings.log_file == "-" else Path(settings.log_file).absolute()


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None else 0


def _last_words(path: Path | None, start: int) -> str:
    """What a process that could not start had to say: its last line since `start` that is no structured log."""
    if path is None:
        return ""
    with path.open("rb") as file:
        file.seek(max(start, _size(path) - _LAST_WORDS_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line and not line.startswith("{")), "")
