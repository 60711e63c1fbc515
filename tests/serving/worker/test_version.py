import asyncio
from pathlib import Path

from serving.policy.cost import RunCost
from serving.worker.job import Job
from serving.worker.load import Loaded
from serving.worker.metrics import WorkerMetrics
from serving.worker.predictor import Predictor
from serving.worker.version import ServedVersion
from tests.serving.runtimes.models import bundle
from tests.serving.worker.fakes import FakeRuntime, FakeSink
from tests.serving.worker.requests import ROW, request, rows


def served(folder: Path, runtime: FakeRuntime, metrics: WorkerMetrics) -> ServedVersion:
    """A version that runs in the loop."""
    made = bundle(folder, {}, framework="echo")
    cost = RunCost()
    cost.observe(1, 0.0)
    loaded = Loaded(made, Predictor(made.spec, ROW, runtime, made.definition.batching), cost, 0.25)
    return ServedVersion(5, loaded, metrics.of(made.spec), inline_below_s=10.0, hung=lambda *_: None)


def job(version: ServedVersion, number: int, sink: FakeSink) -> Job:
    decoded = version.decode(request({"x": rows(1, start=number)}).SerializeToString())
    return Job(number=number, handle=5, request=decoded, sink=sink, seq=number, deadline=1e18, arrived=0.0)


def test_a_batch_from_two_routers_is_answered_to_each(tmp_path: Path) -> None:
    """Requests of several routers share a run; each router gets one outcome with its own requests only."""

    async def test() -> None:
        runtime, metrics = FakeRuntime(), WorkerMetrics()
        version = served(tmp_path, runtime, metrics)
        one, two = FakeSink(), FakeSink()
        for number, sink in ((1, one), (2, two), (3, one)):
            version.batcher.submit(job(version, number, sink))
        await version.batcher.drained()
        assert runtime.batches == [[1, 2, 3]]
        assert one.statuses() == {1: "OK", 3: "OK"}
        assert two.statuses() == {2: "OK"}
        assert [outcome.rows for sink in (one, two) for outcome in sink.outcomes] == [3, 3]
        assert metrics.of(version.spec).batch_rows.count == 1

    asyncio.run(test())


def test_closing_gives_everything_back(tmp_path: Path) -> None:
    """The runtime is closed once and the version no longer counts as ready."""

    async def test() -> None:
        runtime, metrics = FakeRuntime(), WorkerMetrics()
        version = served(tmp_path, runtime, metrics)
        assert (metrics.ready.labels("m", tmp_path.name).read(), metrics.load.labels("m", tmp_path.name).read()) == (
            1,
            0.25,
        )
        await asyncio.to_thread(version.closing())
        assert runtime.closed == 1
        assert metrics.ready.labels("m", tmp_path.name).read() == 0

    asyncio.run(test())
