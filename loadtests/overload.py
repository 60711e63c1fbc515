"""What becomes of answers when there is too much work: goodput, latency, refusals, waste; and one tenant's flood.

    python -m loadtests.overload [--seconds 8] [--json figures.json]

A model that takes 4 ms a run and 1 ms a row, at most 8 rows a run, so that its capacity (some hundred requests a
second) is far below what router and generator can do. First the capacity, closed loop with 64 in flight; then open loop
(Poisson, loadtests/openloop.py) at 0.3, 0.6, 0.9 and 2 times that, each request with 150 ms; all of it with admission
on and off, by turns. Then a tenant at a third of the capacity alone, beside a flood of twice the capacity from another
tenant, and beside the same flood under its own name, the flood from a process of its own; and two replicas of unequal
speed. About two minutes; ends by itself.
"""

import argparse
import asyncio
import json
import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from dodona import Client
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from loadtests.openloop import Load, Outcome, body, closed_loop, open_loop, quantile
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.log import configure

FEATURES = 4
TIMEOUT_S = 0.15
SHARES = (0.3, 0.6, 0.9, 2.0)
FLOODS = (
    ("alone", ""),
    ("another tenant's flood", "noisy"),
    ("a flood under its own name", "quiet"),
    ("alone again", ""),
)
MODEL = "slow"
UNEQUAL = "unequal"
# The first process to load it is the slow one: the lock goes with the process.
UNEQUAL_SOURCE = '''"""One request at a time; 20 ms in the first process that loads it, 5 ms in others."""

import fcntl
import time
from pathlib import Path


class Model:
    def load(self, folder):
        self._lock = (folder.parent.parent.parent / "unequal.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._run_s = 0.020
        except OSError:
            self._run_s = 0.005

    def predict(self, inputs):
        time.sleep(self._run_s)
        return {"output": inputs["input"]}
'''


@dataclass(frozen=True)
class Line:
    """One row of the tables."""

    what: str
    offered: float
    outcome: Outcome
    wasted_s: float
    expired: float

    def figures(self) -> dict[str, float | str]:
        outcome = self.outcome
        refused = outcome.statuses["RESOURCE_EXHAUSTED"]
        return {
            "what": self.what,
            "offered_per_s": round(self.offered),
            "goodput_per_s": round(outcome.goodput),
            "p50_ms": round(1e3 * outcome.quantile_s(0.5), 1),
            "p99_ms": round(1e3 * outcome.quantile_s(0.99), 1),
            "refused_per_s": round(refused / outcome.seconds),
            "late_per_s": round((outcome.sent - refused - outcome.statuses["OK"]) / outcome.seconds),
            "wasted_ms_per_s": round(1e3 * self.wasted_s / outcome.seconds, 1),
            "expired_at_worker": round(self.expired),
            "retry_ms_p50": quantile(outcome.retry_ms, 0.5),
            "generator_late_ms_p99": round(1e3 * quantile(outcome.send_lags_s, 0.99), 2),
        }


def publish(repository: Path) -> None:
    tensor = TensorDefinition(name="input", datatype="FP32", shape=(FEATURES,))
    pack(
        None,
        name=MODEL,
        repository=repository,
        framework="echo",
        inputs=[tensor],
        max_batch_rows=8,
        options={"delay_s": 0.004, "delay_per_row_s": 0.001},
    )


@contextmanager
def cluster_of(folder: Path, repository: Path, *, admission: bool, replicas: int = 1) -> Iterator[SyncCluster]:
    settings = ClusterSettings.model_validate(
        {
            "repository": str(repository),
            "run_folder": str(folder / "run"),
            "log_file": str(folder.parent / "dodona.log"),
            "router": {
                "grpc_port": 0,
                "http_port": 0,
                "metrics_port": 0,
                "log_level": "warning",
                "admission": {"enabled": admission},
            },
            "workers": {"python": {"replicas": replicas}},
        }
    )
    with running(settings) as cluster:
        cluster.ready(60.0)
        yield cluster


def worker_counts(address: str, *names: str) -> dict[str, list[float]]:
    """Worker -> the sum of each of these series over all versions."""
    with Client(address) as client:
        workers = [worker for worker in client.status().workers if worker.role == "worker"]
    found = {}
    for worker in workers:
        with urlopen(f"http://{worker.metrics_address}/metrics", timeout=5) as page:
            text = page.read().decode()
        found[worker.name] = [
            sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)) for name in names
        ]
    return found


def measured(address: str, what: str, load: Load) -> Line:
    series = ("dodona_wasted_seconds_total", "dodona_expired_total")
    before = worker_counts(address, *series)
    outcome = asyncio.run(open_loop(address, load))
    after = worker_counts(address, *series)
    waste, expired = (sum(after[name][index] - before[name][index] for name in before) for index in (0, 1))
    return Line(what, load.rate, outcome, waste, expired)


def capacity_of(cluster: SyncCluster, seconds: float) -> Line:
    load = Load(body(MODEL, FEATURES), 0.0, seconds, 10.0)
    return Line("closed loop, 64 in flight", 0.0, asyncio.run(closed_loop(cluster.grpc_address, load, 64)), 0.0, 0.0)


def overload(folder: Path, repository: Path, seconds: float) -> tuple[float, list[dict[str, float | str]]]:
    """Capacity, and a line per load with admission on and off, by turns."""
    lines: list[dict[str, float | str]] = []
    with (
        cluster_of(folder / "on", repository, admission=True) as on,
        cluster_of(folder / "off", repository, admission=False) as off,
    ):
        closed = capacity_of(on, seconds)
        capacity = closed.outcome.goodput
        lines.append(closed.figures())
        for share in SHARES:
            for name, cluster in (("on", on), ("off", off)):
                load = Load(body(MODEL, FEATURES), share * capacity, seconds, TIMEOUT_S)
                lines.append(measured(cluster.grpc_address, f"{share:g}x, admission {name}", load).figures())
        lines.append(capacity_of(on, seconds).figures())
    return capacity, lines


def flooding(address: str, load: Load) -> None:
    """In a process of its own, so that the tenant beside it is measured, not the generator."""
    asyncio.run(open_loop(address, load))


def flood(folder: Path, repository: Path, capacity: float, seconds: float) -> list[dict[str, float | str]]:
    """One tenant at a third of the capacity: alone, beside another's flood, and beside its own."""
    message = body(MODEL, FEATURES)
    lines = []
    with cluster_of(folder / "flood", repository, admission=True) as cluster:
        for what, tenant in FLOODS:
            mine = Load(message, capacity / 3, seconds, TIMEOUT_S, (("x-dodona-tenant", "quiet"),), seed=2)
            theirs = Load(message, 2 * capacity, seconds + 2, TIMEOUT_S, (("x-dodona-tenant", tenant),), seed=3)
            other = multiprocessing.get_context("spawn").Process(target=flooding, args=(cluster.grpc_address, theirs))
            if tenant:
                other.start()
                time.sleep(1.5)  # it has to start, and a queue to form
            lines.append(measured(cluster.grpc_address, what, mine).figures())
            if tenant:
                other.join()
    return lines


def unequal(folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Two replicas, 5 and 20 ms a request, 16 in flight: how busy each runtime is."""
    repository, source = folder / "unequal-models", folder / "model.py"
    source.write_text(UNEQUAL_SOURCE)
    tensor = {"name": "input", "datatype": "FP32", "shape": (FEATURES,)}
    pack(
        source,
        name=UNEQUAL,
        repository=repository,
        framework="python",
        class_="model:Model",
        inputs=[TensorDefinition(**tensor)],
        outputs=[TensorDefinition(**{**tensor, "name": "output"})],
        max_batch_rows=1,
    )
    with cluster_of(folder / "unequal", repository, admission=True, replicas=2) as cluster:
        while len(worker_counts(cluster.grpc_address)) < 2:
            time.sleep(0.1)
        load = Load(body(UNEQUAL, FEATURES), 0.0, seconds, 10.0)
        series = ("dodona_infer_seconds_sum", "dodona_infer_seconds_count")
        before, begin = worker_counts(cluster.grpc_address, *series), time.monotonic()
        asyncio.run(closed_loop(cluster.grpc_address, load, 16, warm_up_s=0.0))
        after, took_s = worker_counts(cluster.grpc_address, *series), time.monotonic() - begin
    figures = {}
    for name in before:
        busy_s, runs = (after[name][index] - before[name][index] for index in (0, 1))
        figures[name] = {"runs": runs, "ms_a_run": round(1e3 * busy_s / runs, 1), "busy": round(busy_s / took_s, 3)}
    return figures


def table(lines: list[dict[str, float | str]]) -> str:
    names = list(lines[0])
    rows = [names, ["---"] * len(names), *[[str(line.get(name, "")) for name in names] for line in lines]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load, the first of them not counted")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dodona-overload-") as name:
        folder = Path(name)
        configure("agent", stream=(folder / "dodona.log").open("a"))
        publish(folder / "models")
        capacity, loads = overload(folder, folder / "models", options.seconds)
        print(f"capacity {capacity:.0f}/s (closed loop, 64 in flight)\n\n{table(loads)}\n", flush=True)
        floods = flood(folder, folder / "models", capacity, options.seconds)
        print(f"{table(floods)}\n", flush=True)
        replicas = unequal(folder, options.seconds)
        print(f"unequal replicas: {replicas}")
    if options.json:
        figures = {"capacity_per_s": capacity, "loads": loads, "floods": floods, "unequal": replicas}
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
