"""What is asked of the servers: a model each, and the cases in which it is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import models
from loadtests.bench.server import Server
from loadtests.peers.peer import Protocol
from loadtests.subject import MODEL


@dataclass(frozen=True)
class Case:
    """`protocols`: the first that a server speaks is used; a server that speaks none of them sits the case out.
    `analysed`: the client is perf_analyzer, for servers that answer what it asks about the model."""

    name: str
    protocols: tuple[Protocol, ...]
    connections: int
    streams: int = 1
    analysed: bool = False

    def protocol(self, server: Server) -> Protocol | None:
        if self.analysed and not server.inspected:
            return None
        return next((each for each in self.protocols if each in server.speaks), None)


@dataclass(frozen=True)
class Workload:
    """`shape`: of one row, FP32. `make`: writes the ONNX file; None: the demo's trees, see trial.py. `deadline_s`: for
    the open loop at twice the capacity; None: no open loop. `rtol`, `atol`: of answers against the model in process."""

    name: str
    title: str
    shape: tuple[int, ...]
    outputs: int
    make: Callable[[Path], None] | None = None
    deadline_s: float | None = None
    warm_up: int = 300
    """Requests before each load of h2load's."""
    rtol: float = 1e-5
    atol: float = 1e-6

    @property
    def model(self) -> str:
        return self.name if self.make else MODEL


TREES = Workload("trees", "100 trees, 30 features", (30,), 2, deadline_s=0.05)
SMALL = Workload("cnn", "small CNN, 28 x 28 pixels", (1, 28, 28), 10, models.small_network, rtol=1e-3, atol=1e-4)
DENSE = Workload(
    "dense",
    f"{models.DENSE_LAYERS} dense layers of {models.HIDDEN}, {models.DENSE_FEATURES} features",
    (models.DENSE_FEATURES,),
    8,
    models.dense_network,
    deadline_s=0.3,
    warm_up=100,
    rtol=1e-2,
    atol=1e-3,
)
IMAGE = Workload("image", "602 KB image, three pixels of it", (3, 224, 224), 3, models.corner_of_image, warm_up=100)
TINY = Workload("tiny", "one layer, 30 features", (30,), 2, models.tiny_network)
"""For comparisons of Dodona with itself; no part of the benchmark."""
WORKLOADS = {each.name: each for each in (TREES, SMALL, DENSE, IMAGE)}


def cases(workload: Workload, connections: Sequence[int], analyser: Sequence[int] = ()) -> list[Case]:
    """`connections`: in flight over gRPC by h2load, `analyser`: by perf_analyzer, both for the trees."""
    match workload.name:
        case "trees":
            return [
                *(_grpc("", count) for count in connections),
                Case("gRPC, 32 streams on one connection", ("grpc",), 1, 32),
                *(_binary("", count) for count in (1, 32)),
                *(_json("", count) for count in (1, 32)),
                *(
                    Case(f"perf_analyzer gRPC, {count} in flight", ("grpc",), count, analysed=True)
                    for count in analyser
                ),
            ]
        case "cnn":
            return [*(_grpc("CNN: ", count) for count in (1, 32)), _binary("CNN: ", 32), _json("CNN: ", 32)]
        case "dense":
            return [*(_grpc("dense: ", count) for count in (1, 8, 32, 64, 128, 256, 512)), _json("dense: ", 32)]
        case _:
            return [*(_grpc("602 KB: ", count) for count in (1, 8)), _binary("602 KB: ", 8)]


def _grpc(prefix: str, count: int) -> Case:
    return Case(f"{prefix}gRPC, {count} in flight", ("grpc",), count)


def _binary(prefix: str, count: int) -> Case:
    return Case(f"{prefix}REST binary, {count} in flight", ("binary",), count)


def _json(prefix: str, count: int) -> Case:
    return Case(f"{prefix}REST JSON, {count} in flight", ("json", "instances"), count)
