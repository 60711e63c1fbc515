"""Spans that a worker's link leaves behind, read back with the official classes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from protos import link_pb2
from serving.link.framing import LinkError
from serving.worker.tracing import WorkerTracer
from tests.serving.worker.fakes import turns
from tests.serving.worker.test_link import MESSAGE, Router

PARENTS = [f"00-{'0' * 30}{number:02x}-{'0' * 14}{number:02x}-01" for number in range(1, 9)]


class TracedRouter(Router):
    def __init__(self, folder: Path, **options: Any) -> None:
        self.packed: list[bytes] = []
        number = iter(range(1, 1000))
        self.tracer = WorkerTracer(
            lambda *spans: self.packed.extend(spans), lambda size: next(number).to_bytes(size), offset_ns=lambda: 0
        )
        super().__init__(folder, tracer=self.tracer, **options)

    @property
    def spans(self) -> list[Span]:
        return list(ScopeSpans.FromString(b"".join(self.packed)).spans)


@pytest.mark.parametrize("inline", [True, False])
def test_a_sampled_request_has_six_spans(tmp_path: Path, inline: bool) -> None:
    """In the loop or in a thread: its parts follow one another within it, and its parent is the router's link."""

    async def scenario() -> None:
        router = TracedRouter(tmp_path, inline=inline)
        router.work(1, traceparents=PARENTS[:1], tracestates=["a=b"])
        assert router.tracer.open == 1
        await router.version.batcher.drained()
        assert router.tracer.open == 0
        whole, *parts = router.spans
        assert [one.name for one in parts] == ["decode", "batch wait", "assemble", "run", "encode"]
        assert (whole.name, whole.parent_span_id.hex(), whole.trace_state) == ("worker", "00" * 7 + "01", "a=b")
        assert {one.parent_span_id for one in parts} == {whole.span_id}
        times = [whole.start_time_unix_nano]
        for one in parts:
            assert one.start_time_unix_nano == pytest.approx(times[-1], abs=1000)
            times.append(one.end_time_unix_nano)
        assert times == sorted(times)
        assert times[-1] <= whole.end_time_unix_nano + 1000

    asyncio.run(scenario())


def test_only_the_sampled_are_recorded(tmp_path: Path) -> None:
    """Those of the others in the batch leave nothing, malformed ones neither; the run links the sampled ones."""

    async def scenario() -> None:
        router = TracedRouter(tmp_path)
        parents = [PARENTS[0], "", PARENTS[1].removesuffix("1") + "0", "nonsense", PARENTS[2]]
        router.work(1, 2, 3, 4, 5, traceparents=parents)
        await router.version.batcher.drained()
        runs = [one for one in router.spans if one.name == "run"]
        assert [one.trace_id[-1] for one in runs] == [1, 3]
        assert [[link.trace_id[-1] for link in one.links] for one in runs] == [[3], [1]]
        figures = {one.key: one.value.int_value for one in runs[0].attributes}
        assert (figures["dodona.batch.rows"], figures["dodona.batch.requests"]) == (5, 5)
        assert len(router.results()[0][1]) == 5

    asyncio.run(scenario())


def test_one_that_got_no_run_says_why(tmp_path: Path) -> None:
    """Cancelled before its run: it waited until then, and nothing follows."""

    async def scenario() -> None:
        router = TracedRouter(tmp_path)
        router.work(1, traceparents=PARENTS[:1])
        router.cancel(1)
        await turns(2)
        whole, *parts = router.spans
        assert [one.name for one in parts] == ["decode", "batch wait"]
        assert whole.status.code == Span().status.STATUS_CODE_ERROR
        assert router.tracer.open == 0

    asyncio.run(scenario())


def test_a_lost_link_leaves_nothing_open(tmp_path: Path) -> None:
    """What belonged to it is closed like any other, so that untraced requests cost nothing again."""

    async def scenario() -> None:
        router = TracedRouter(tmp_path)
        router.work(1, 2, traceparents=PARENTS[:2])
        router.link.lost("gone")
        await router.version.batcher.drained()
        assert router.tracer.open == 0

    asyncio.run(scenario())


def test_columns_must_fit(tmp_path: Path) -> None:
    """A frame with a trace too few is a broken peer's."""

    async def scenario() -> None:
        router = TracedRouter(tmp_path)
        for columns in ({"traceparents": PARENTS[:1]}, {"traceparents": PARENTS[:2], "tracestates": [""]}):
            with pytest.raises(LinkError, match="differ in length"):
                router.work(1, 2, **columns)

    asyncio.run(scenario())


def test_tracing_off_ignores_the_columns(tmp_path: Path) -> None:
    """They are for whoever records."""

    async def scenario() -> None:
        router = Router(tmp_path)
        work = link_pb2.Work(
            ids=[1], handles=[1], rows=[1], sizes=[len(MESSAGE)], timeout_us=[10**9], traceparents=PARENTS[:1]
        )
        router.link.received(link_pb2.Envelope(work=work), memoryview(MESSAGE))
        await router.version.batcher.drained()
        assert len(router.results()) == 1

    asyncio.run(scenario())
