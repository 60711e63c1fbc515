"""The whole gRPC surface on both fronts, before a core whose worker is in this process and runs the worker's own
decoding, batching and encoding. The same checks run against live clusters elsewhere.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from protos import link_pb2
from router.compose import compose
from router.core import Core
from router.edge.grpc.methods import methods
from router.front.calls import Front
from router.front.grpcio import GrpcioFront
from router.front.http2 import Http2Front
from router.settings import RouterSettings
from serving.bundle.definition import Batching, ModelDefinition
from serving.bundle.model_config import model_config
from serving.runtimes.base import Arrays
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.status import Status
from serving.worker.predictor import Predictor
from tests.conformance.grpc_surface import REPOSITORY, SURFACE, Check
from tests.router.edge.grpc.rig import PATIENCE_S, FakeAgent, FakeWorker

FRONTS: dict[str, type[GrpcioFront] | type[Http2Front]] = {"grpcio": GrpcioFront, "http2": Http2Front}
MODELS = ("scores", "words")


class Scores:
    """Two inputs, FP32 and INT64; answers sums and three scores a row."""

    device = "cpu"
    text_inputs: frozenset[str] = frozenset()
    signature = Signature(
        (TensorSpec("x", "FP32", (4,)), TensorSpec("n", "INT64", (1,))),
        (TensorSpec("sum", "FP64", (1,)), TensorSpec("scores", "FP32", (3,), labels=("a", "b", "c"))),
    )

    def predict(self, inputs: Arrays) -> Arrays:
        total = inputs["x"].sum(axis=1, keepdims=True, dtype=np.float64) + inputs["n"]
        return {"sum": total, "scores": np.tile(np.array([0.2, 0.5, 0.3], np.float32), (len(total), 1))}

    def close(self) -> None:
        """Nothing is held."""


class Words(Scores):
    """Any number of texts a row, given back."""

    signature = Signature((TensorSpec("words", "BYTES", (-1,)),), (TensorSpec("words", "BYTES", (-1,)),))

    def predict(self, inputs: Arrays) -> Arrays:
        return inputs


def announced(name: str, handle: int, signature: Signature) -> link_pb2.Model:
    def tensors(specs: tuple[TensorSpec, ...]) -> list[link_pb2.TensorSpec]:
        return [
            link_pb2.TensorSpec(name=one.name, datatype=one.datatype, shape=one.shape, labels=one.labels)
            for one in specs
        ]

    config = model_config(ModelDefinition(name=name, framework="python"), signature, ["1"])
    return link_pb2.Model(
        handle=handle,
        name=name,
        version="1",
        framework="python",
        batched=True,
        max_batch_rows=256,
        inputs=tensors(signature.inputs),
        outputs=tensors(signature.outputs),
        config=config.SerializeToString(),
    )


def answering(predictors: dict[str, Predictor]) -> Callable[[str, bytes], bytes]:
    def answer(name: str, message: bytes) -> bytes:
        predictor = predictors[name]
        return predictor.run([predictor.decode(message)]).responses[0]

    return answer


class Served:
    """A core, a worker and a front on a loop of their own, in a thread: the clients under test block."""

    def __init__(self, front: str) -> None:
        self.address = ""
        self._front = FRONTS[front]
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Served":
        self._thread.start()
        self.address = self._started.result(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        settings = RouterSettings()
        core = compose(settings, clock=self._loop.time, call_at=self._loop.call_at)
        runtimes = {"scores": Scores(), "words": Words()}
        predictors = {
            name: Predictor(ModelSpec(name, "1"), runtime.signature, runtime, Batching())
            for name, runtime in runtimes.items()
        }
        models = [
            announced(name, handle, runtime.signature) for handle, (name, runtime) in enumerate(runtimes.items(), 1)
        ]
        worker = FakeWorker(core, *models, answer=answering(predictors))
        _repository(core, worker, {one.name: one for one in models})
        front: Front = self._front(methods(core), "127.0.0.1", 0, settings.limits, settings.tls)
        core.listeners["grpc"] = await front.start()
        self._started.set_result(core.listeners["grpc"])
        await self._stop.wait()
        await front.drain(0)


def _repository(core: Core, worker: FakeWorker, models: dict[str, link_pb2.Model]) -> None:
    """An agent that loads and unloads as the real one does: it reports, and the worker announces what is left."""
    loaded = set(models)

    def report() -> None:
        agent.index(
            *(
                link_pb2.IndexEntry(name=name, version="1", state=link_pb2.STATE_READY)
                if name in loaded
                else link_pb2.IndexEntry(
                    name=name, version="1", state=link_pb2.STATE_UNAVAILABLE, reason="unloaded on request"
                )
                for name in models
            )
        )

    def act(wish: link_pb2.Control) -> tuple[Status, str]:
        if wish.name not in models:
            return Status.NOT_FOUND, f"no model {wish.name!r} in the repository"
        if wish.action == link_pb2.ACTION_LOAD:
            loaded.add(wish.name)
        else:
            loaded.discard(wish.name)
        report()
        worker.announce(*(models[name] for name in sorted(loaded)))
        return Status.OK, ""

    agent = FakeAgent(core, act=act)
    report()


@pytest.fixture(scope="module", params=sorted(FRONTS))
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with Served(request.param) as served:
        yield served.address


@pytest.mark.parametrize("check", [*SURFACE, *REPOSITORY], ids=lambda check: check.__name__)
def test_surface(address: str, check: Check) -> None:
    """One part of the surface, with clients that we did not write; the check's own sentence says which."""
    check(address, MODELS)
