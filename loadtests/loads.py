"""What loading a large model does to a busy one beside it, and whether memory comes back.

    python -m loadtests.loads [--rounds 4] [--seconds 8] [--cycles 50] [--megabytes 300] [--nice N] [--json FILE]

A small ONNX model under open-loop load (Poisson, loadtests/openloop.py, from a process of its own) at half of what it
does in a closed loop. Periods without and with loading take turns: meanwhile a model of hundreds of megabytes is
loaded, warmed up and unloaded through the repository API, again and again. Then so many load/unload cycles without
other load, and the proportional set size of router, workers and the agent's process (this one) before and after.

Two to four minutes with the defaults; ends by itself. Needs the package `onnx`, and `--megabytes` of disk and memory.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from dodona import Client
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from loadtests import processes
from loadtests.openloop import Load, Outcome, body, closed_loop, open_loop
from serving.bundle.pack import pack
from serving.log import configure

BUSY, LARGE = "busy", "large"
FEATURES = 30
TIMEOUT_S = 5.0
SETTLE_S = 3.0
"""After a cycle, for processes to end, before memory is read."""


def chain(path: Path, extents: list[int]) -> Path:
    """An ONNX file: FP32[-1, extents[0]] through matrices to FP32[-1, extents[-1]]."""
    nodes, weights = [], []
    for index, (before, after) in enumerate(pairwise(extents)):
        line = np.linspace(-1, 1, 977, dtype=np.float32) / before
        weights.append(numpy_helper.from_array(np.resize(line, (before, after)), f"w{index}"))
        output = "output" if index == len(extents) - 2 else f"h{index}"
        nodes.append(helper.make_node("MatMul", ["input" if not index else f"h{index - 1}", f"w{index}"], [output]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", extent])
        for name, extent in (("input", extents[0]), ("output", extents[-1]))
    ]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def publish(folder: Path, name: str, extents: list[int]) -> None:
    file = chain(folder / f"{name}.onnx", extents)
    pack(file, name=name, repository=folder / "models", max_batch_rows=32)
    file.unlink()


def _generate(answer: Connection, address: str, load: Load, in_flight: int) -> None:
    """In a process of its own, so that the agent in ours is not in its way."""
    run = closed_loop(address, load, in_flight) if in_flight else open_loop(address, load)
    answer.send(asyncio.run(run))


def generated(address: str, load: Load, in_flight: int = 0) -> Outcome:
    """`in_flight` 0: open loop."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    arguments = (theirs, address, load, in_flight)
    generator = multiprocessing.get_context("spawn").Process(target=_generate, args=arguments)
    generator.start()
    outcome: Outcome = ours.recv()
    generator.join()
    return outcome


class Loading:
    """Loads and unloads the large model until told to stop; counts how often."""

    def __init__(self, address: str) -> None:
        self.cycles = 0
        self.load_s: list[float] = []
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Client(self._address) as client:
            while not self._stop.is_set():
                self.load_s.append(cycle(client))
                self.cycles += 1

    def __enter__(self) -> "Loading":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def cycle(client: Client) -> float:
    """One load and unload; the seconds of the load."""
    begin = time.monotonic()
    client.load(LARGE, timeout_s=300)
    took_s = time.monotonic() - begin
    client.unload(LARGE, timeout_s=300)
    return took_s


@contextmanager
def cluster_of(folder: Path, supervise: dict[str, Any]) -> Iterator[SyncCluster]:
    settings = ClusterSettings.model_validate(
        {
            "repository": str(folder / "models"),
            "run_folder": str(folder / "run"),
            "log_file": str(folder / "dodona.log"),
            "supervise": supervise,
            "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "log_level": "warning"},
        }
    )
    with running(settings) as cluster:
        cluster.ready(60.0)
        yield cluster


def figures(what: str, outcome: Outcome, loading: Loading | None) -> dict[str, Any]:
    return {
        "what": what,
        "answered_per_s": round(outcome.goodput),
        "not_answered": outcome.sent - outcome.statuses["OK"],
        "p50_ms": round(1e3 * outcome.quantile_s(0.5), 2),
        "p99_ms": round(1e3 * outcome.quantile_s(0.99), 2),
        "loads": loading.cycles if loading else 0,
        "load_s": round(statistics.median(loading.load_s), 2) if loading else "",
    }


def latencies(cluster: SyncCluster, rounds: int, seconds: float, share: float) -> list[dict[str, Any]]:
    address, message = cluster.grpc_address, body(BUSY, FEATURES)
    capacity = generated(address, Load(message, 0.0, 4.0, TIMEOUT_S), in_flight=16).goodput
    print(f"capacity {capacity:.0f}/s (closed loop, 16 in flight), offered {share * capacity:.0f}/s", flush=True)
    lines = []
    for number in range(rounds):
        load = Load(message, share * capacity, seconds, TIMEOUT_S, seed=number)
        lines.append(figures("without", generated(address, load), None))
        with Loading(address) as loading:
            outcome = generated(address, load)
        lines.append(figures("loading", outcome, loading))
        print(lines[-2], lines[-1], sep="\n", flush=True)
    return lines


def ratios(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds, loading against the period before it."""
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    return {
        name: round(statistics.median(loading[name] / without[name] for without, loading in pairs), 2)
        for name in ("p50_ms", "p99_ms")
    }


def memory(cluster: SyncCluster, cycles: int) -> dict[str, Any]:
    """Proportional set size in MiB, with the large model away, before and after so many cycles."""
    own = {"agent": psutil.Process().pid}
    with Client(cluster.grpc_address) as client:
        for _ in range(3):  # the first ones fill caches
            cycle(client)
        time.sleep(SETTLE_S)
        before = {name: processes.pss({name: pid}, family=False) for name, pid in (cluster.pids | own).items()}
        for number in range(1, cycles + 1):
            cycle(client)
            if not number % 10:
                print(f"{number} cycles", flush=True)
        time.sleep(SETTLE_S)
        after = {name: processes.pss({name: pid}, family=False) for name, pid in (cluster.pids | own).items()}
    sums = [sum(each.values()) for each in (before, after)]
    return {
        "before_mib": {name: round(value / 2**20, 1) for name, value in before.items()},
        "after_mib": {name: round(value / 2**20, 1) for name, value in after.items()},
        "growth": round(sums[1] / sums[0] - 1, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a period, the first of them not counted")
    parser.add_argument("--share", type=float, default=0.5, help="of the busy model's capacity")
    parser.add_argument("--cycles", type=int, default=50, help="for memory; 0 = leave it out")
    parser.add_argument("--megabytes", type=int, default=300, help="of the large model")
    parser.add_argument("--nice", type=int, help="supervise.nice instead of its default")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    supervise = {} if options.nice is None else {"nice": options.nice}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dodona-loads-") as name:
        folder = Path(name)
        configure("agent", stream=(folder / "dodona.log").open("a"))
        publish(folder, BUSY, [FEATURES, 256, 256, 1])
        with cluster_of(folder, supervise) as cluster:
            extent = int((options.megabytes * 2**20 / 4 / 3) ** 0.5)
            publish(folder, LARGE, [extent] * 4)  # later than the busy one, so in a process of its own
            while not all(version.state == "READY" for version in cluster.versions) or len(cluster.versions) < 2:
                time.sleep(0.1)
            with Client(cluster.grpc_address) as client:
                client.unload(LARGE, timeout_s=60)
            if options.rounds:
                found["periods"] = latencies(cluster, options.rounds, options.seconds, options.share)
                found["loading_to_without"] = ratios(found["periods"])
                print(f"loading against without, medians: {found['loading_to_without']}", flush=True)
            if options.cycles:
                found["memory"] = memory(cluster, options.cycles)
                print(f"memory: {found['memory']}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
