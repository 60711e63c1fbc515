"""The worker process, put together: loads versions, keeps links to the routers, serves, and goes when told.

All state lives in the event loop; threads only load, run long batches, close runtimes and serve `/metrics`.
"""

import asyncio
import logging
import os
import platform
import signal
import threading
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Final

from prometheus_client import start_http_server

from protos import link_pb2
from serving.link.client import LinkClient
from serving.link.framing import PROTOCOL_VERSION
from serving.spec import ModelSpec
from serving.spinning import spinning
from serving.tracing.start import open_outbox
from serving.worker.link import WorkerLink
from serving.worker.load import Loaded
from serving.worker.loader import Loader
from serving.worker.metrics import WorkerMetrics
from serving.worker.parent import BEAT_S, Command, StatusLine, Unload, read_commands
from serving.worker.settings import WorkerSettings
from serving.worker.tracing import WorkerTracer
from serving.worker.version import ServedVersion

log = logging.getLogger(__name__)

_SETTLE_S: Final = 0.2
"""How long a version still takes work after the routers were told that it goes: frames are on their way. What comes
later is answered UNAVAILABLE, which a router sends elsewhere."""


class WorkerProcess:
    """A `serving.worker.link.Host`."""

    def __init__(self, settings: WorkerSettings, *, status_descriptor: int | None = None) -> None:
        self._settings = settings
        self._parent = status_descriptor is not None
        self._status = StatusLine(status_descriptor)
        self._metrics = WorkerMetrics()
        self._metrics_address = ""
        self._handles = count(1)
        self._device = "cpu"
        self._leaving: set[ModelSpec] = set()
        self._links: list[WorkerLink] = []
        self._unloads: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._left_running = False
        self._failed = False
        self._random = Random()
        self._outbox = open_outbox(settings.tracing, os.environ, service="dodona-worker", instance=settings.name)
        self._tracer: WorkerTracer | None = None
        if self._outbox is not None:
            self._tracer = WorkerTracer(self._outbox.record, self._random.randbytes)
            self._outbox.count_in(self._metrics.spans)
        self._loader = Loader(settings, self._status, self._metrics, self._serve)
        self.versions: dict[int, ServedVersion] = {}

    @property
    def stuck(self) -> bool:
        """After `run`: whether a thread that cannot be interrupted still loads or runs a model, past all patience."""
        return self._loader.busy or self._left_running

    @property
    def exit_code(self) -> int:
        """1 where it went because of a hung run, so that whoever started it starts it again."""
        return int(self._failed)

    async def run(self) -> None:
        """Serve until told to go, then finish what was accepted."""
        self._listen_to_signals()
        self._metrics_address = self._start_metrics()
        self._status.tell("started", pid=os.getpid(), metrics_address=self._metrics_address)
        if self._parent:
            self._listen_to_parent()
            self._beat()
        loading = asyncio.create_task(self._loader.run(self._settings.models))
        dialling = [asyncio.create_task(client.run()) for client in self._clients()]
        going = asyncio.create_task(self._going.wait())
        try:
            waited_for = {going, loading, *dialling}
            while not self._going.is_set():
                ended, waited_for = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()  # what failed here is a fault of ours: better dead than half alive
            loading.cancel()
            await self._drain()
        finally:
            going.cancel()
            for task in (loading, *dialling):
                task.cancel()
            await asyncio.gather(going, loading, *dialling, return_exceptions=True)
        await self._close_versions()
        if self._outbox is not None:
            await asyncio.to_thread(self._outbox.close)
        self._status.tell("drained")

    # What the links ask.

    def hello(self) -> link_pb2.Hello:
        settings = self._settings
        return link_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            role=link_pb2.ROLE_WORKER,
            name=settings.name,
            framework=settings.framework,
            device=self._device,
            interpreter=f"{platform.python_implementation()} {platform.python_version()}",
            token=settings.token.get_secret_value(),
            metrics_address=self._metrics_address,
            pid=os.getpid(),
        )

    def announced(self) -> Sequence[ServedVersion]:
        """Nothing once it drains: whoever is dialled again then must not send work."""
        if self._going.is_set():
            return []
        return [version for version in self.versions.values() if version.spec not in self._leaving]

    def links_changed(self) -> None:
        up = [link for link in self._links if link.up]
        for link in up:
            link.grant(len(up))

    # Versions.

    def _serve(self, loaded: Loaded) -> None:
        spec = loaded.bundle.spec
        version = ServedVersion(
            next(self._handles),
            loaded,
            self._metrics.of(spec),
            inline_below_s=self._settings.inline_below_s,
            hung=self._hung,
            tracer=self._tracer,
        )
        self.versions[version.handle] = version
        self._device = version.device
        self._announce()
        self._status.tell_of("ready", spec, load_s=round(loaded.load_s, 6))

    def _announce(self) -> None:
        for link in self._links:
            if link.up:
                link.announce()
        self.links_changed()

    def _hung(self, version: ServedVersion, reason: str) -> None:
        """Take the version out of service first, so that its requests are not sent back here. The others are served on
        until the parent has replaced this process; without a parent it ends, with an exit code that asks for that."""
        log.error("a run hangs", extra={"model": str(version.spec), "reason": reason})
        self._left_running = True
        self.versions.pop(version.handle, None)
        version.metrics.ready.set(0)
        self._announce()
        self._status.tell_of("stuck", version.spec, reason=reason)
        if not self._parent:
            self._failed = True
            self._going.set()

    async def _unload(self, version: ServedVersion) -> None:
        spec = version.spec
        self._leaving.add(spec)
        self._announce()
        await asyncio.sleep(_SETTLE_S)
        await version.batcher.drained()
        self.versions.pop(version.handle, None)  # gone already where a run of it hung meanwhile
        self._leaving.discard(spec)
        await asyncio.to_thread(version.closing())
        version.metrics.forget()
        self._status.tell_of("unloaded", spec)

    # The end.

    async def _drain(self) -> None:
        for link in self._links:
            if link.up:
                link.drain()
        try:
            async with asyncio.timeout(self._settings.drain_grace_s):
                await asyncio.sleep(_SETTLE_S)
                for version in list(self.versions.values()):
                    await version.batcher.drained()
        except TimeoutError:
            left = sum(version.batcher.in_flight for version in self.versions.values())
            log.warning("drain_grace_s is over", extra={"requests": left, "grace_s": self._settings.drain_grace_s})

    async def _close_versions(self) -> None:
        for task in self._unloads:
            task.cancel()
        await asyncio.gather(*self._unloads, return_exceptions=True)
        for version in self.versions.values():
            if version.batcher.in_flight == 0:
                await asyncio.to_thread(version.closing())
            else:
                self._left_running = True
        self.versions.clear()

    # Beginnings.

    def _clients(self) -> list[LinkClient]:
        clients = []
        woke = spinning(self._settings.spin_s)
        for address in self._settings.routers:
            link = WorkerLink(self, address, self._tracer)
            client = LinkClient(address, link, self._random, max_frame_bytes=self._settings.max_frame_bytes, woke=woke)
            link.attach(client.send)
            self._links.append(link)
            clients.append(client)
        return clients

    def _start_metrics(self) -> str:
        host = self._settings.metrics_host
        server, _ = start_http_server(self._settings.metrics_port, host, self._metrics.all.registry())
        return f"{host}:{server.server_port}"

    def _beat(self) -> None:
        self._status.beat()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._going.set)
        # With a parent, Ctrl-C is for the parent, which ends its workers after the requests they serve.
        loop.add_signal_handler(signal.SIGINT, (lambda: None) if self._parent else self._going.set)

    def _listen_to_parent(self) -> None:
        loop = asyncio.get_running_loop()

        def heard(command: Command) -> None:
            loop.call_soon_threadsafe(self._obey, command)

        def ended() -> None:
            loop.call_soon_threadsafe(self._going.set)

        threading.Thread(target=read_commands, args=(0, heard, ended), name="parent", daemon=True).start()

    def _obey(self, command: Command) -> None:
        if not isinstance(command, Unload):
            self._going.set()
            return
        version = next((one for one in self.announced() if one.spec == command.spec), None)
        if version is None:
            self._loader.forget(command.spec)
            return
        task = asyncio.create_task(self._unload(version))
        self._unloads.add(task)
        task.add_done_callback(self._unloads.discard)
