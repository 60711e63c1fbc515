"""The stages of the open loop, against a real gRPC server: capacity first, then what is offered as shares of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from loadtests.bench.openloop import CAPACITY, OVERLOAD, SAME, SHARES, stages
from loadtests.bench.trial import Trial
from loadtests.bench.workloads import TINY, TREES
from loadtests.bodies import GRPC_PATH, Row, grpc_load
from loadtests.h2load import Load
from loadtests.processes import Usage
from protos import inference_pb2
from serving.spec import Signature, TensorSpec

A_DAY_S = 86_400.0
"""gRPC says a century where there is no deadline."""


class Served:
    """What `stages` asks of a server. `timeouts`: what the requests said of their deadlines, in order."""

    name = "served"
    answers_vary = False

    def __init__(self, port: int, trial: Trial, timeouts: list[float | None]) -> None:
        self._port = port
        self._trial = trial
        self.timeouts = timeouts
        self.speaks: tuple[str, ...] = ("grpc",)
        self._cpu_s = 0.0

    def load(self, protocol: str, row: Row, connections: int, streams: int = 1) -> Load:
        assert protocol == "grpc"
        address = f"127.0.0.1:{self._port}"
        return grpc_load(address, self._trial.model, row, connections=connections, streams=streams)

    def usage(self) -> Usage:
        self._cpu_s += 0.5
        return Usage({"served": self._cpu_s}, {})


@pytest.fixture
def served() -> Iterator[Served]:
    timeouts: list[float | None] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        left = context.time_remaining()
        timeouts.append(left if left is not None and left < A_DAY_S else None)
        response = inference_pb2.ModelInferResponse(model_name="m")
        response.outputs.add(name="probabilities", datatype="FP32", shape=[1, 1])
        response.raw_output_contents.append(b"\0\0\0\0")
        return bytes(response.SerializeToString())

    server = grpc.server(ThreadPoolExecutor(1))
    service, method = GRPC_PATH[1:].split("/")
    rpc = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: rpc}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tensors = TensorSpec("input", "FP32", (30,)), TensorSpec("probabilities", "FP32", (1,))
    model: Any = SimpleNamespace(name="m", inputs=tensors[:1], signature=Signature(tensors[:1], tensors[1:]))
    rows = np.zeros((1, 30), np.float32)
    yield Served(port, Trial(TREES, model, rows, rows[:, :1], Path(), Path()), timeouts)
    server.stop(None).wait()


def test_loads_are_shares_of_the_capacity(served: Served) -> None:
    """And one that is the same for all where it is known; only at twice the capacity a request says its deadline."""
    notes: list[str] = []
    found = stages(served, served._trial, 0.2, 40.0, notes.append, warm_up_s=0.0)  # type: ignore[arg-type]
    assert list(found) == [CAPACITY, SAME, *SHARES]
    capacity = found[CAPACITY].rate
    assert capacity > 0
    assert found["60 %"].offered == pytest.approx(0.6 * capacity, rel=0.5)
    assert found[SAME].offered == pytest.approx(40.0, abs=60)
    assert found[OVERLOAD].goodput <= found[OVERLOAD].offered
    assert all(point.server_cpu_us > 0 for point in found.values())
    assert len(notes) == len(found) - 1
    said = [left is not None for left in served.timeouts]
    assert not any(said[1:50])
    assert any(said[-5:])


def test_a_server_or_workload_without_an_open_loop_has_no_stages(served: Served) -> None:
    """A protocol that the generator cannot use is no failure, and neither is a model that wants none."""
    speechless = Served(1, served._trial, [])
    speechless.speaks = ("binary",)
    assert stages(speechless, served._trial, 0.1, None, lambda _: None) == {}  # type: ignore[arg-type]
    quiet = Trial(TINY, served._trial.model, served._trial.rows, served._trial.answers, Path(), Path())
    assert stages(served, quiet, 0.1, None, lambda _: None) == {}  # type: ignore[arg-type]
