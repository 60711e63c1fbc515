"""What metrics and traces cost: the same cluster without either, with metrics, and with traces besides, side by side.

All clusters are up at once and idle but for the one that is asked; each round asks all of them in turn, the first one
rotating, and the ratios are taken within a round. Without metrics means that `inc` and `observe` are replaced by
functions that do nothing; there is no such setting.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from dodona import Client
from dodona.cluster import LocalCluster
from dodona.config import ClusterSettings
from loadtests import h2load
from loadtests.bodies import grpc_load
from loadtests.h2load import Load
from loadtests.processes import usage
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.log import configure

_NO_METRICS = (
    "import runpy; from serving.metrics import Counter, Histogram; "
    "Counter.inc = lambda self, amount=1: None; Histogram.observe = lambda self, value: None; "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)
UNSAMPLED = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
# Name -> sampled part of the requests (None: no tracing), and what callers send.
VARIANTS: Mapping[str, tuple[float | None, tuple[tuple[str, str], ...]]] = {
    "all off": (None, ()),
    "metrics": (None, ()),
    "metrics, traces of 1 %": (0.01, ()),
    "metrics, traces of 100 %": (1.0, ()),
    "metrics, callers say unsampled": (0.01, (UNSAMPLED,)),
    "metrics, no tracing, callers say unsampled": (None, (UNSAMPLED,)),
}


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """A collector that takes everything and keeps nothing."""

    class Exchange(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def cluster_of(name: str, work: Path, collector: str) -> LocalCluster:
    ratio, _ = VARIANTS[name]
    folder = work / name.replace(" ", "-").replace(",", "").replace("%", "percent")
    folder.mkdir()
    tracing = {} if ratio is None else {"endpoint": collector, "sample_ratio": ratio}
    ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    settings = ClusterSettings.model_validate(
        {
            "repository": str(work / "models"),
            "run_folder": str(folder),
            "log_file": str(folder / "log"),
            "router": {**ports, "tracing": tracing},
        }
    )
    if name != "all off":
        return LocalCluster(settings)
    commands = [
        (sys.executable, "-P", "-c", _NO_METRICS.format(module))
        for module in ("dodona.cluster.bound", "serving.worker")
    ]
    return LocalCluster(settings, router_command=commands[0], worker_command=commands[1])


def load_of(cluster: LocalCluster, name: str, connections: int) -> Load:
    with Client(cluster.grpc_address) as client:
        model = client.metadata("m")
    plain = grpc_load(cluster.grpc_address, model, [1.0] * 30, connections=connections, streams=1)
    return Load(plain.url, plain.body, (*plain.headers, *VARIANTS[name][1]), connections)


def cost_us(cluster: LocalCluster, load: Load, requests: int) -> float:
    """CPU microseconds a request of router and worker."""
    before = cpu_s(cluster.pids)
    outcome = h2load.run(load, requests, timeout_s=120)
    assert outcome.succeeded == requests
    return (cpu_s(cluster.pids) - before) / requests * 1e6


def cpu_s(pids: Mapping[str, int]) -> float:
    """Of processes without children. Linux counts nanoseconds in a place of its own, elsewhere 10 ms are the unit."""
    if not sys.platform.startswith("linux"):
        return sum(usage(pids).cpu_s.values())
    counts = [task.read_text() for pid in pids.values() for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(count.split()[0]) for count in counts) / 1e9


async def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    names = [name for name in VARIANTS if name in arguments.variants]
    costs: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder, receiver() as collector:
        work = Path(folder)
        configure("agent", "warning")
        inputs = (TensorDefinition(name="x", datatype="FP32", shape=(30,)),)
        pack(None, framework="echo", name="m", repository=work / "models", inputs=inputs)
        async with contextlib.AsyncExitStack() as stack:
            clusters = {}
            for name in names:
                clusters[name] = await stack.enter_async_context(cluster_of(name, work, collector))
                await clusters[name].ready(60)
            loads = {
                name: await asyncio.to_thread(load_of, cluster, name, arguments.connections)
                for name, cluster in clusters.items()
            }
            for turn in range(-1, arguments.rounds):  # the first round warms up
                for place in range(len(names)):
                    name = names[(place + turn) % len(names)]
                    cost = await asyncio.to_thread(cost_us, clusters[name], loads[name], arguments.requests)
                    if turn >= 0:
                        costs[name].append(cost)
    return costs


def table(costs: Mapping[str, Sequence[float]]) -> Iterator[str]:
    yield "| | CPU us a request, median (range) | to the first, median of rounds (range) |"
    yield "|---|---|---|"
    first = next(iter(costs.values()))
    for name, found in costs.items():
        ratios = [cost / base for cost, base in zip(found, first, strict=True)]
        yield (
            f"| {name} | {median(found):.1f} ({min(found):.1f}-{max(found):.1f}) "
            f"| {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=20_000, help="of one cluster in one round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    print("\n".join(table(asyncio.run(measure(parser.parse_args())))))


if __name__ == "__main__":
    main()
