"""What the bench has to know of a rival: what to install, how to start it, which requests it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loadtests.peers.environment import Environment

Protocol = Literal["grpc", "binary", "json", "instances"]
"""Open Inference Protocol over gRPC; over REST with binary tensors; over REST with JSON; plain {"instances": ...}."""

SERVED = Path(__file__).parent / "served"
ROOT = Path(__file__).parent.parent.parent
NUMERICS = ("onnxruntime==1.31.1", "xgboost-cpu==3.2.0", "numpy<3")
"""What runs the model; the same in every environment."""


@dataclass(frozen=True)
class Scene:
    """Where a rival is started: an empty folder of its own, three free ports, the model's file."""

    folder: Path
    environment: Environment
    model: str
    model_file: Path
    shape: tuple[int, ...]
    """Of one row."""
    outputs: int
    grpc_port: int
    http_port: int
    metrics_port: int


@dataclass(frozen=True)
class Launch:
    """`ready`: path that answers 200 on the HTTP port once the model is served; empty: ask over gRPC. `variables` are
    added to the environment, in which PEER_MODEL (the file), PEER_NAME (the model's name) and PYTHONPATH (folder
    `served`) are set already."""

    command: Sequence[str]
    ready: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    name: str
    title: str
    requirements: tuple[str, ...]
    speaks: tuple[Protocol, ...]
    launch: Callable[[Scene], Launch]
    settings: str
    """How it is set up, for the report."""
    path: str = "/predict"
    """Of the plain JSON route, where it has one."""
    counter: Callable[[str], int] | None = None
    """Successes so far from the text of its metrics page, where it has a count of them."""
    answers_vary: bool = False
    """Its answers to the same request differ in length, so that their bytes tell nothing."""
    inspected: bool = False
    """NVIDIA's perf_analyzer can be used: it answers metadata, config and statistics."""
