"""The router process: composes the parts, listens, and drains on SIGTERM or SIGINT."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic

from prometheus_client import start_http_server

from router.compose import compose
from router.edge.grpc.methods import methods
from router.edge.rest.app import rest_app
from router.front.calls import Front, Methods
from router.front.http1 import Patience
from router.front.rest import RestFront
from router.link.server import LinkServer
from router.metrics import RouterMetrics
from router.processes.member import Member, Membership
from router.settings import RouterSettings
from router.tracing import Tracer
from serving.spinning import Woke, never, spinning
from serving.tracing.context import Sampler
from serving.tracing.outbox import Outbox
from serving.tracing.settings import Tracing
from serving.tracing.start import open_outbox

log = logging.getLogger(__name__)

# Peers that lost a router dial it again within 2 s; those of a machine that starts take a little longer.
_KNOWN_AFTER_S = 5.0


def front_of(
    settings: RouterSettings, table: Methods, metrics: RouterMetrics, *, reuse_port: bool = False, woke: Woke = never
) -> Front:
    """The gRPC server of `router.front`; what it counts is exported."""
    if settings.front == "grpcio":
        from router.front.grpcio import GrpcioFront

        return GrpcioFront(
            table, settings.host, settings.grpc_port, settings.limits, settings.tls, reuse_port=reuse_port
        )
    from router.front.http2 import Http2Front
    from router.http2.limits import Http2Limits

    http2 = Http2Limits.of(settings.limits, settings.http2)
    front = Http2Front(
        table,
        settings.host,
        settings.grpc_port,
        settings.limits,
        settings.tls,
        http2=http2,
        reuse_port=reuse_port,
        woke=woke,
    )
    metrics.connections.labels().source = partial(front.counters.read, "connections_open")
    for figure in front.counters.totals():
        metrics.front.labels(figure).source = partial(front.counters.read, figure)
    return front


def tracer_of(tracing: Tracing, outbox: Outbox) -> Tracer:
    sampler = Sampler(
        tracing.sample_ratio,
        follow_parent=tracing.follow_parent,
        chance=random.random,
        random_bytes=random.randbytes,
    )
    return Tracer(sampler, outbox.record, monotonic)


class Router:
    """`start` listens on every port, `drain` ends it; `core` is there in between."""

    def __init__(self, settings: RouterSettings, membership: Membership | None = None) -> None:
        """`membership`: of a process that shares its ports with others."""
        loop = asyncio.get_running_loop()
        # Not loop.time: uvloop's is the time of the current turn in whole milliseconds, too coarse to measure with.
        # Both read CLOCK_MONOTONIC, so deadlines of one can be compared with the other.
        name = settings.name if membership is None else membership.name_of(settings)
        self._outbox = open_outbox(settings.tracing, os.environ, service="dodona-router", instance=name)
        tracer = tracer_of(settings.tracing, self._outbox) if self._outbox is not None else None
        self.core = compose(settings, clock=monotonic, call_at=loop.call_at, tracer=tracer)
        self.core.catalogue.complete = False
        if self._outbox is not None:
            self._outbox.count_in(self.core.metrics.spans)
        self._settings = settings
        self._membership = membership
        self._member: Member | None = None
        self._registry = self.core.metrics.metrics.registry()
        shared = membership is not None
        woke = spinning(settings.spin_s)
        self._front = front_of(settings, methods(self.core), self.core.metrics, reuse_port=shared, woke=woke)
        self._rest = RestFront(
            rest_app(self.core),
            settings.host,
            settings.http_port,
            settings.limits,
            settings.tls,
            patience=Patience.of(settings.rest),
            reuse_port=shared,
            woke=woke,
        )
        self._link = LinkServer(
            name, settings.link, self.core.peers, monotonic, self.core.shared_memory.folder, woke=woke
        )
        self._metrics_server: Callable[[], None] = lambda: None

    async def start(self, stop: Callable[[], None] = lambda: None) -> None:
        """`stop` is called when the parent of several processes has gone. Raises OSError naming the address that could
        not be bound."""
        settings, listeners = self._settings, self.core.listeners
        self.core.shared_memory.start()
        with _naming("link.address", settings.link.address):
            listeners["link"] = await self._link.start()
        if self._membership is None:
            with _naming("metrics_port", settings.metrics_port):
                listeners["metrics"] = self._serve_metrics()
        else:
            await self._join(self._membership, stop)
        with _naming("http_port", settings.http_port):
            listeners["http"] = await self._rest.start()
        with _naming("grpc_port", settings.grpc_port):
            listeners["grpc"] = await self._front.start()
        if self._member is not None:
            self._member.started()
        asyncio.get_running_loop().call_later(_KNOWN_AFTER_S, self._know)
        log.info("router listens", extra={"listeners": dict(listeners), "front": self._settings.front})

    def _know(self) -> None:
        """Whoever was to dial has had the time."""
        self.core.catalogue.complete = True

    async def _join(self, membership: Membership, stop: Callable[[], None]) -> None:
        member = self._member = Member(self.core, self._registry, stop)
        self.core.whole = member
        self.core.operators.settled = member.caught_up
        await member.open(membership.end)
        if membership.replaces:
            await member.served_as_elsewhere()

    def _serve_metrics(self) -> str:
        server, thread = start_http_server(self._settings.metrics_port, self._settings.host, self._registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._metrics_server = stop
        return f"{self._settings.host}:{server.server_port}"

    async def drain(self) -> None:
        """Refuse what is new, answer what was accepted (within the grace), then close."""
        grace_s = self._settings.drain_grace_s
        log.info("router drains", extra={"in_flight": self.core.dispatcher.in_flight, "grace_s": grace_s})
        idle = asyncio.Event()
        self.core.dispatcher.drain(idle.set)
        await asyncio.gather(self._front.drain(grace_s), self._rest.drain(grace_s), self._settled(idle, grace_s))
        await self._link.stop()
        self.core.shared_memory.close()
        self._metrics_server()
        if self._outbox is not None:
            await asyncio.to_thread(self._outbox.close)
        if self._member is not None:
            await self._member.close()
        log.info("router stopped")

    async def _settled(self, idle: asyncio.Event, grace_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(idle.wait(), grace_s)
        self.core.dispatcher.abandon()


@contextlib.contextmanager
def _naming(setting: str, value: object) -> Iterator[None]:
    """Say which setting an address that cannot be bound comes from."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if isinstance(error, socket.gaierror):
            raise OSError(f"router.host: {reason}; write an address of this machine, or 0.0.0.0 for all") from error
        raise OSError(f"router.{setting} = {value}: {reason}; stop what uses it or choose another") from error


async def run(settings: RouterSettings, status_fd: int | None = None, membership: Membership | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Tells the parent on `status_fd`, one JSON line, once it listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    router = Router(settings, membership)
    await router.start(stop.set)
    if status_fd is not None:
        listeners = router.core.listeners
        line = {"event": "started", "pid": os.getpid(), "listeners": listeners, "links": [listeners["link"]]}
        os.write(status_fd, json.dumps(line).encode() + b"\n")
    # What is alive now stays alive: leave it out of every later collection.
    gc.collect()
    gc.freeze()
    await stop.wait()
    await router.drain()
