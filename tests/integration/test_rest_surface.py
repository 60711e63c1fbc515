"""The whole REST surface, before a core whose worker is in this process and runs the worker's own decoding, batching
and encoding. The same checks run against live clusters elsewhere.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from protos import inference_pb2, link_pb2
from router.core import Core
from router.edge.rest.app import rest_app
from router.front.rest import RestFront
from router.settings import Limits, RouterSettings
from serving import loop as serving_loop
from serving.bundle.definition import Batching, ModelDefinition
from serving.bundle.model_config import model_config
from serving.errors import DodonaError
from serving.runtimes.base import Arrays
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.status import Status
from serving.worker.predictor import Predictor
from tests.conformance.rest_surface import REPOSITORY, SURFACE, Check
from tests.router.edge.rest.rig import PATIENCE_S, FakeAgent, FakeWorker, Job, make_core, model, tensor

MODELS = ("scores", "words")


class Scores:
    """Two inputs, FP32 and INT64; answers sums and three scores a row."""

    device = "cpu"
    text_inputs: frozenset[str] = frozenset()
    signature = Signature(
        (TensorSpec("x", "FP32", (4,)), TensorSpec("n", "INT64", (1,))),
        (TensorSpec("sum", "FP64", (1,)), TensorSpec("scores", "FP32", (3,))),
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
        return [tensor(one.name, one.datatype, *one.shape) for one in specs]

    announcement = model(name, tensors(signature.inputs), tensors(signature.outputs), handle=handle)
    definition = ModelDefinition(name=name, framework="python")
    announcement.config = model_config(definition, signature, ["1"]).SerializeToString()
    return announcement


def predicting(predictors: dict[str, Predictor], job: Job) -> None:
    """Answer as the worker process does."""
    predictor = predictors[job.request.model_name]
    try:
        response = predictor.run([predictor.decode(job.message)]).responses[0]
    except DodonaError as error:
        job.fail(error)
    else:
        job.reply_raw(inference_pb2.ModelInferResponse.FromString(response))


class Repository(FakeAgent):
    """Loads and unloads as the real agent does: it reports, and the worker announces what is left."""

    def __init__(self, core: Core, worker: FakeWorker, models: dict[str, link_pb2.Model]) -> None:
        super().__init__(core)
        self._worker = worker
        self._models = models
        self._loaded = set(models)

    def settle(self, wish: link_pb2.Control) -> tuple[Status, str]:
        if wish.name not in self._models:
            return Status.NOT_FOUND, f"no model {wish.name!r} in the repository"
        (self._loaded.add if wish.action == link_pb2.ACTION_LOAD else self._loaded.discard)(wish.name)
        states = {True: link_pb2.STATE_READY, False: link_pb2.STATE_UNAVAILABLE}
        self.index(
            *(
                link_pb2.IndexEntry(name=name, version="1", state=states[name in self._loaded], reason="as wished")
                for name in self._models
            )
        )
        self._worker.announce(*(self._models[name] for name in sorted(self._loaded)))
        return Status.OK, ""


class Served:
    """A core, a worker and the listener on a loop of their own, in a thread: the clients under test block."""

    def __init__(self) -> None:
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://{self._started.result(PATIENCE_S)}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            serving_loop.run(self._main())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        core = make_core(RouterSettings(limits=Limits(max_message_bytes=1_000_000)))
        runtimes = {"scores": Scores(), "words": Words()}
        predictors = {
            name: Predictor(ModelSpec(name, "1"), runtime.signature, runtime, Batching())
            for name, runtime in runtimes.items()
        }
        models = {
            name: announced(name, at, runtime.signature) for at, (name, runtime) in enumerate(runtimes.items(), 1)
        }
        worker = FakeWorker(core, *models.values(), on_job=lambda job: predicting(predictors, job))
        Repository(core, worker, models)
        front = RestFront(rest_app(core), "127.0.0.1", 0, core.settings.limits, core.settings.tls)
        self._started.set_result(await front.start())
        await self._stop.wait()
        await front.drain(1)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with Served() as url:
        yield url


@pytest.mark.parametrize("check", [*SURFACE, *REPOSITORY], ids=lambda check: check.__name__)
def test_surface(base_url: str, check: Check) -> None:
    """One part of the surface; the check's own sentence says which."""
    check(base_url, MODELS)
