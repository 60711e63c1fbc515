"""More than one core: `python -m loadtests.scaling [--rounds 3] [--seconds 2] [--connections 32 64]`.

Clusters of 1 and 2 router processes and 1 and 2 worker replicas, all running, are loaded in turn by h2load with one row
a request of the demo's breast-cancer trees, over connections of their own. What is written: requests a second, CPU a
request of all the cluster's processes, and how the busiest ones share it. On few cores the rate says little (the load
generator needs some of them); the CPU of the busiest single process says where the next bound is: a process can do no
more than one core's worth, so 1 / (its CPU a request) requests a second, however many cores there are.

Medians of the rounds with their ranges; it stops by itself after about `rounds * cases * (seconds + 2)` seconds.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dodona import Client
from dodona.client.description import Description
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from loadtests import h2load
from loadtests.bodies import grpc_load, rest_load
from loadtests.figures import Spread, spread
from loadtests.machine import description, load_average
from loadtests.processes import tree
from loadtests.subject import MODEL, READY_WITHIN_S, held_out, trained

SHAPES = ((1, 1), (2, 1), (1, 2), (2, 2))
FIRST_REQUESTS = 2_000
TIMEOUT_S = 120.0

Shape = tuple[int, int, int, int]
"""Connections, streams on each, router processes, worker replicas."""


@dataclass(frozen=True)
class Cluster:
    """`processes` x `replicas`, with the demo's one model."""

    processes: int
    replicas: int
    cluster: SyncCluster
    model: Description

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of each process: `router-PID` and `worker-PID`."""
        found = {}
        for name, pid in self.cluster.pids.items():
            kind = "router" if name == "router" else "worker"
            for process in tree(pid):
                times = process.cpu_times()
                found[f"{kind}-{process.pid}"] = times.user + times.system
        return found


@dataclass(frozen=True)
class Run:
    """CPU in us a request."""

    rate: float
    p99_ms: float
    cpu_us: float
    router_us: float
    worker_us: float
    busiest_router_us: float
    client_us: float
    least_share: float
    """Of the routers' CPU, what the idlest of the processes that take calls had; 1 = all the same."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one load")
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--streams", type=int, default=32, help="of a further case on one gRPC connection; 0 = without")
    parser.add_argument("--protocol", choices=["grpc", "rest"], default="grpc")
    parser.add_argument("--work", type=Path, default=Path(".dodona/bench"))
    asked = parser.parse_args(arguments)
    words = ", ".join(f"{name} {text}" for name, text in description().items())
    print(f"{words}; load average {load_average():.1f}")
    trained(asked.work, (MODEL,))
    with ExitStack() as stack:
        clusters = [stack.enter_context(cluster(asked.work, *shape)) for shape in SHAPES]
        row = [float(value) for value in held_out(asked.work)[0]]
        flights = [(connections, 1) for connections in asked.connections]
        if asked.streams and asked.protocol == "grpc":
            flights.append((1, asked.streams))
        cases = [(one, *flight) for flight in flights for one in clusters]
        runs: dict[Shape, list[Run]] = {}
        for _ in range(asked.rounds):
            for one, connections, streams in cases:
                run = loaded(one, asked.protocol, row, connections, streams, asked.seconds)
                runs.setdefault((connections, streams, one.processes, one.replicas), []).append(run)
    report(asked.protocol, runs)


@contextmanager
def cluster(work: Path, processes: int, replicas: int) -> Iterator[Cluster]:
    folder = work / f"scaling-{processes}-{replicas}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = ClusterSettings.model_validate(
        {
            "repository": str(work / "models"),
            "run_folder": str(folder),
            "log_file": str(folder / "log"),
            "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "processes": processes},
            "workers": {"xgboost": {"replicas": replicas}, "onnx": {"replicas": 0}, "python": {"replicas": 0}},
        }
    )
    with running(settings) as up:
        up.ready(READY_WITHIN_S)
        with Client(up.grpc_address) as client:
            give_up_at = time.monotonic() + READY_WITHIN_S
            while not any(model.name == MODEL and model.replicas == replicas for model in client.status().models):
                if time.monotonic() > give_up_at:
                    raise RuntimeError(f"{replicas} replicas of {MODEL} did not come")
                time.sleep(0.1)
            model = client.metadata(MODEL)
        yield Cluster(processes, replicas, up, model)


def loaded(one: Cluster, protocol: str, row: Sequence[float], connections: int, streams: int, seconds: float) -> Run:
    if protocol == "grpc":
        load = grpc_load(one.cluster.grpc_address, one.model, row, connections=connections, streams=streams)
    else:
        load = rest_load(one.cluster.http_address, one.model, row, connections=connections)
    first = h2load.run(load, FIRST_REQUESTS, timeout_s=TIMEOUT_S)
    before, client_before = one.cpu_s(), _children_s()
    outcome = h2load.run(load, max(FIRST_REQUESTS, int(first.rate * seconds)), timeout_s=TIMEOUT_S)
    after, client_after = one.cpu_s(), _children_s()
    if (
        outcome.succeeded != outcome.requests
        or outcome.data_bytes * first.requests != first.data_bytes * outcome.requests
    ):
        raise RuntimeError(
            f"{outcome.requests - outcome.succeeded} of {outcome.requests} requests failed, or were refused"
        )
    spent = {name: (after[name] - before.get(name, 0.0)) / outcome.requests * 1e6 for name in after}
    routers = sorted((us for name, us in spent.items() if name.startswith("router")), reverse=True)[: one.processes]
    return Run(
        rate=outcome.rate,
        p99_ms=outcome.quantile_s(0.99) * 1e3,
        cpu_us=sum(spent.values()),
        router_us=sum(routers),
        worker_us=sum(us for name, us in spent.items() if name.startswith("worker")),
        busiest_router_us=routers[0],
        client_us=(client_after - client_before) / outcome.requests * 1e6,
        least_share=routers[-1] / (sum(routers) / len(routers)),
    )


def _children_s() -> float:
    """CPU seconds of our children that have ended: h2load."""
    times = os.times()
    return times.children_user + times.children_system


def report(protocol: str, runs: dict[Shape, list[Run]]) -> None:
    columns = ("rate", "p99_ms", "cpu_us", "router_us", "worker_us", "busiest_router_us", "client_us", "least_share")
    forms = (",.0f", ".2f", ".0f", ".0f", ".0f", ".0f", ".0f", ".2f")
    print(
        f"\n| {protocol}, connections | router processes x replicas | requests/s | p99 ms | CPU µs a request | routers"
        " | workers | busiest router process | load generator | idlest router process to the mean |"
    )
    print("|---" * 10 + "|")
    for (connections, streams, processes, replicas), measured in runs.items():
        cells = [_spread(measured, column).words(form) for column, form in zip(columns, forms, strict=True)]
        flight = f"{connections} with {streams} streams" if streams > 1 else str(connections)
        print(f"| {flight} | {processes} x {replicas} | {' | '.join(cells)} |")


def _spread(measured: Sequence[Run], column: str) -> Spread:
    return spread([getattr(run, column) for run in measured])


if __name__ == "__main__":
    main()
