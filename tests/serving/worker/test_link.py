import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from protos import link_pb2
from serving.link.framing import LinkError
from serving.policy.cost import RunCost
from serving.worker.link import WorkerLink
from serving.worker.load import Loaded
from serving.worker.metrics import WorkerMetrics
from serving.worker.predictor import Predictor
from serving.worker.tracing import WorkerTracer
from serving.worker.version import ServedVersion
from tests.serving.runtimes.models import bundle
from tests.serving.worker.fakes import FakeRuntime, turns
from tests.serving.worker.requests import ROW, parse, request, rows

MESSAGE = request({"x": rows(1)}).SerializeToString()
Frame = tuple[link_pb2.Envelope, Sequence[bytes]]


class Router:
    """A host with one version (handle 1) and a link whose frames are kept instead of sent."""

    def __init__(
        self,
        folder: Path,
        *,
        inline: bool = True,
        max_frame_bytes: int = 2**20,
        tracer: WorkerTracer | None = None,
    ) -> None:
        self.runtime = FakeRuntime()
        made = bundle(folder, {}, framework="echo", batching={"max_batch_rows": 100})
        cost = RunCost()
        cost.observe(1, 0.0)
        predictor = Predictor(made.spec, ROW, self.runtime, made.definition.batching)
        self.metrics = WorkerMetrics()
        self.version = ServedVersion(
            1,
            Loaded(made, predictor, cost, 0.0),
            self.metrics.of(made.spec),
            inline_below_s=10.0 if inline else 0.0,
            hung=lambda version, _: self.versions.pop(version.handle),
            tracer=tracer,
        )
        self.versions = {1: self.version}
        self.changes = 0
        self.frames: list[Frame] = []
        self.link = WorkerLink(self, "unix:link", tracer)
        self.link.attach(lambda envelope, payloads: self.frames.append((envelope, payloads)))
        self.welcome = link_pb2.Welcome(protocol_version=1, router="r", max_frame_bytes=max_frame_bytes)
        self.link.welcomed(self.welcome)

    # serving.worker.link.Host

    def hello(self) -> link_pb2.Hello:
        return link_pb2.Hello(name="w")

    def announced(self) -> list[ServedVersion]:
        return list(self.versions.values())

    def links_changed(self) -> None:
        self.changes += 1

    # What a router does.

    def work(
        self, *numbers: int, message: bytes = MESSAGE, handle: int = 1, timeout_us: int = 10**9, **more: Any
    ) -> None:
        count = len(numbers)
        work = link_pb2.Work(
            ids=numbers,
            handles=[handle] * count,
            rows=[1] * count,
            sizes=[len(message)] * count,
            timeout_us=[timeout_us] * count,
            **more,
        )
        self.link.received(link_pb2.Envelope(work=work), memoryview(message * count))

    def cancel(self, *numbers: int) -> None:
        self.link.received(link_pb2.Envelope(cancel=link_pb2.Cancel(ids=numbers)), memoryview(b""))

    def results(self) -> list[tuple[link_pb2.Results, Sequence[bytes]]]:
        return [(envelope.results, payloads) for envelope, payloads in self.frames if envelope.HasField("results")]

    def statuses(self) -> dict[int, int]:
        """Status by id; an id that was answered twice is an error."""
        found: dict[int, int] = {}
        for results, payloads in self.results():
            failures = {failure.index: failure.status for failure in results.failures}
            assert len(results.ids) == len(results.sizes) == len(results.queue_us)
            assert [size for size in results.sizes if size] == [len(payload) for payload in payloads]
            for index, number in enumerate(results.ids):
                assert number not in found
                found[number] = failures.get(index, 0)
                assert bool(results.sizes[index]) == (index not in failures)
        return found


def story(folder: Path, test: Callable[[Router], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run() -> None:
        await test(Router(folder, **options))

    asyncio.run(asyncio.wait_for(run(), 20))


def test_welcome_is_answered_with_the_models(tmp_path: Path) -> None:
    """The whole set is announced, then windows are shared."""

    async def test(router: Router) -> None:
        ((models, _),) = router.frames
        assert [model.handle for model in models.models.models] == [1]
        assert router.changes == 1
        router.link.grant(3)
        credit = router.frames[-1][0].credit
        assert (credit.handle, credit.window_rows) == (1, 67)
        before = len(router.frames)
        router.link.grant(3)
        assert len(router.frames) == before
        router.link.announce()
        router.link.grant(3)
        assert router.frames[-1][0].credit == credit
        router.link.drain()
        assert router.frames[-1][0].HasField("draining")

    story(tmp_path, test)


@pytest.mark.parametrize("version", [0, 2])
def test_a_protocol_we_do_not_speak_ends_the_link(tmp_path: Path, version: int) -> None:
    """The router must choose a version that both know."""

    async def test(router: Router) -> None:
        with pytest.raises(LinkError, match=f"the router speaks link protocol {version}, this worker 1 to 1"):
            router.link.welcomed(link_pb2.Welcome(protocol_version=version))

    story(tmp_path, test)


def test_one_results_frame_a_batch(tmp_path: Path) -> None:
    """All of a frame's work shares a run and a Results frame with its times; responses come in order."""

    async def test(router: Router) -> None:
        router.work(5, 6, 7, request_ids=["a", "b", "c"], priorities=[0, 0, 0])
        await router.version.batcher.drained()
        ((results, payloads),) = router.results()
        assert (list(results.ids), results.rows, results.handle) == ([5, 6, 7], 3, 1)
        assert [parse(payload).model_name for payload in payloads] == ["m", "m", "m"]
        assert results.input_us > 0
        assert router.runtime.batches == [[0, 0, 0]]

    story(tmp_path, test)


def test_a_bad_request_is_refused_without_touching_its_frame(tmp_path: Path) -> None:
    """Failures carry field, message and remedy; good requests of the same frame are answered."""

    async def test(router: Router) -> None:
        bad = request({"x": rows(1, 4)}).SerializeToString()
        work = link_pb2.Work(
            ids=[1, 2, 3],
            handles=[1, 1, 9],
            rows=[1, 1, 1],
            sizes=[len(MESSAGE), len(bad), len(MESSAGE)],
            timeout_us=[10**9] * 3,
        )
        router.link.received(link_pb2.Envelope(work=work), memoryview(MESSAGE + bad + MESSAGE))
        await router.version.batcher.drained()
        assert router.statuses() == {1: 0, 2: 3, 3: 14}
        (failure,) = router.results()[0][0].failures
        assert (failure.field, failure.message) == ("inputs[0].shape", "shape [1, 4] for 'x', which takes [-1, 3]")
        assert failure.remedy.startswith("send 2 extents")
        assert router.results()[0][0].rows == 0

    story(tmp_path, test)


def test_time_that_is_up_is_not_spent(tmp_path: Path) -> None:
    """Work that arrives with no time left is answered DEADLINE_EXCEEDED without a run."""

    async def test(router: Router) -> None:
        router.work(1, timeout_us=0)
        await router.version.batcher.drained()
        assert router.statuses() == {1: 4}
        assert router.runtime.batches == []

    story(tmp_path, test)


@pytest.mark.parametrize("gone", [set(s) for n in range(4) for s in itertools.combinations((1, 2, 3), n)], ids=str)
def test_every_id_is_answered_once_whoever_cancels(tmp_path: Path, gone: set[int]) -> None:
    """A cancelled id is answered CANCELLED, the others run without it; unknown ids are ignored."""

    async def test(router: Router) -> None:
        router.work(1, 2, 3)
        router.cancel(*gone, 99)
        await router.version.batcher.drained()
        router.cancel(*gone)
        assert router.statuses() == {number: 1 if number in gone else 0 for number in (1, 2, 3)}
        assert router.runtime.batches == ([[0] * (3 - len(gone))] if len(gone) < 3 else [])

    story(tmp_path, test)


def test_a_heartbeat_shares_windows_anew(tmp_path: Path) -> None:
    """It brings the round trip, by which the window of a slow model shrinks to what keeps it busy."""

    async def test(router: Router) -> None:
        for size in (1, 50) * 100:
            router.version.cost.observe(size, 0.050 * size)
        changes = router.changes
        beat = link_pb2.Heartbeat(sequence=1, round_trip_us=200)
        router.link.received(link_pb2.Envelope(heartbeat=beat), memoryview(b""))
        assert router.changes == changes + 1
        router.link.grant(1)
        assert router.frames[-1][0].credit.window_rows == 1

    story(tmp_path, test)


def test_work_of_a_lost_link_is_dropped(tmp_path: Path) -> None:
    """What waited is not run, what ran is not sent: the next connection counts its ids from the start."""

    async def test(router: Router) -> None:
        router.work(1)
        router.link.lost("gone")
        await turns()
        assert router.runtime.batches == []
        assert router.version.batcher.in_flight == 0
        router.link.welcomed(router.welcome)
        router.work(1)
        await router.version.batcher.drained()
        assert router.statuses() == {1: 0}
        assert router.changes == 3

    story(tmp_path, test)


def test_a_running_batch_of_a_lost_link_reaches_nobody(tmp_path: Path) -> None:
    """An answer that comes after the link has gone does not enter the next connection."""

    async def test(router: Router) -> None:
        entered, leave = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait(inputs: Any) -> Any:
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(10)
            return {"y": inputs["x"][:, :2]}

        router.runtime.then = wait
        router.work(1)
        await entered.wait()
        router.link.lost("gone")
        router.link.welcomed(router.welcome)
        router.work(1, timeout_us=10**10)
        leave.set()
        await router.version.batcher.drained()
        assert router.statuses() == {1: 0}
        assert len(router.runtime.batches) == 2

    story(tmp_path, test, inline=False)


def test_columns_must_agree(tmp_path: Path) -> None:
    """A Work frame whose columns differ in length, or whose sizes do not cover the payload, ends the link."""

    async def test(router: Router) -> None:
        with pytest.raises(LinkError, match="columns of a work frame differ in length"):
            router.link.received(link_pb2.Envelope(work=link_pb2.Work(ids=[1])), memoryview(b""))
        for short in ({"priorities": [1]}, {"request_ids": ["a"]}):
            work = link_pb2.Work(ids=[1, 2], handles=[1, 1], sizes=[0, 0], timeout_us=[1, 1], **short)
            with pytest.raises(LinkError, match="columns of a work frame differ in length"):
                router.link.received(link_pb2.Envelope(work=work), memoryview(b""))
        work = link_pb2.Work(ids=[1], handles=[1], sizes=[5], timeout_us=[1])
        with pytest.raises(LinkError, match="sizes add up to"):
            router.link.received(link_pb2.Envelope(work=work), memoryview(b"four"))

    story(tmp_path, test)


def test_frames_we_do_not_know_are_ignored(tmp_path: Path) -> None:
    """A newer router may say more than this worker understands."""

    async def test(router: Router) -> None:
        before = len(router.frames)
        router.link.received(link_pb2.Envelope(), memoryview(b""))
        assert len(router.frames) == before

    story(tmp_path, test)


def test_results_are_cut_to_frames_the_router_takes(tmp_path: Path) -> None:
    """A batch whose responses do not fit one frame is sent in several; a response too large for any is refused."""

    async def test(router: Router) -> None:
        import numpy as np

        router.work(*range(100, 140))
        await router.version.batcher.drained()
        assert len(router.results()) > 1
        assert [results.rows for results, _ in router.results()] == [40] + [0] * (len(router.results()) - 1)
        assert all(results.infer_us == router.results()[0][0].infer_us for results, _ in router.results())
        assert set(router.statuses().values()) == {0}
        assert sorted(router.statuses()) == list(range(100, 140))
        router.frames.clear()
        router.work(1, message=request({"x": np.zeros((90, 3), np.float32)}).SerializeToString())
        await router.version.batcher.drained()
        assert router.statuses() == {1: 8}
        (failure,) = router.results()[0][0].failures
        assert "above router.link.max_frame_bytes = 1600" in failure.message

    story(tmp_path, test, max_frame_bytes=1600)
