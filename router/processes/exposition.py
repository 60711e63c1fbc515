"""`GET /metrics` of a router of several processes: their figures as those of one, served by the parent."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from prometheus_client import start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from router.processes.figures import Figures
from serving.metrics import Metrics

_SCRAPE_S: Final = 10.0
_CPU: Final = "dodona_router_process_cpu_seconds"
_CONNECTIONS: Final = "dodona_router_process_connections"


class ParentMetrics:
    """What only the parent knows."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.processes = self.metrics.gauge("dodona_router_processes", "Router processes that listen.")
        self.restarts = self.metrics.counter(
            "dodona_router_restarts", "Router processes started again after they died."
        )


class Exposition(Collector):
    """A scrape comes in a thread of the server's; `figures` runs in `loop`."""

    def __init__(self, figures: Callable[[], Awaitable[Figures]], loop: asyncio.AbstractEventLoop) -> None:
        self._figures = figures
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        async def look() -> Figures:
            return await self._figures()

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result(_SCRAPE_S).metrics()


def serve(figures: Callable[[], Awaitable[Figures]], host: str, port: int) -> tuple[str, Callable[[], None]]:
    """Listen, in a thread of its own: the bound address, and how to end it (blocking). Raises OSError."""
    registry = CollectorRegistry()
    registry.register(Exposition(figures, asyncio.get_running_loop()))
    server, thread = start_http_server(port, host, registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return f"{host}:{server.server_port}", end


def add_balance(total: Figures, processes: Mapping[str, Figures]) -> None:
    """What each process has of the load, by its number. These series start over with their process."""
    total.families[_CPU] = ("counter", "CPU time of each router process.")
    total.families[_CONNECTIONS] = ("gauge", "Open gRPC connections of each router process.")
    for number, figures in processes.items():
        labels = (("process", number),)
        for name, source in ((_CPU, "process_cpu_seconds"), (_CONNECTIONS, "dodona_front_connections")):
            for (family, sample, _), value in figures.samples.items():
                if family == source:
                    total.samples[name, sample.replace(source, name), labels] = value
