import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from serving.bundle.definition import Batching
from serving.errors import DodonaError
from serving.policy.batching import Limits
from serving.policy.cost import RunCost
from serving.runtimes.base import Arrays
from serving.spec import ModelSpec
from serving.worker.batcher import Batcher
from serving.worker.job import Job, Outcome
from serving.worker.predictor import Answered, Predictor
from tests.serving.worker.fakes import FakeRuntime, FakeSink, ManualExecutor, turns
from tests.serving.worker.requests import ROW, parse, request, rows

CULPRIT = 666.0


class Bench:
    """A batcher over a real predictor, with a clock, an executor and a runtime that do as the test says."""

    def __init__(self, limits: Limits | None = None, *, inline: bool = False) -> None:
        self.runtime = FakeRuntime()
        self.predictor = Predictor(ModelSpec("m", "1"), ROW, self.runtime, Batching())
        self.executor = ManualExecutor()
        self.sink = FakeSink()
        self.cost = RunCost()
        if inline:
            self.cost.observe(1, 0.0)
        self.now = 0.0
        self.wasted = 0.0
        self.hung: list[str] = []
        self.seq = itertools.count()
        self.during: Callable[[], None] | None = None
        self.report: Callable[[], object] = lambda: None
        self.batcher = Batcher(
            run=self._run,
            limits=limits or Limits(8),
            cost=self.cost,
            executor=self.executor,
            report=self._report,
            waste=self._waste,
            hung=self.hung.append,
            inline_below_s=0.002 if inline else 0.0,
            clock=lambda: self.now,
        )

    def _run(self, requests: list[Any]) -> Answered:
        answered = self.predictor.run(requests)
        answered.infer_s = 1.0
        return answered

    def _report(self, outcome: Outcome) -> None:
        self.report()
        self.sink.deliver(outcome)

    def _waste(self, seconds: float) -> None:
        self.wasted += seconds

    def job(self, number: int, *, count: int = 1, start: float | None = None, deadline: float = 100.0) -> Job:
        """Its first value is its number, so that answers can be told apart."""
        values = rows(count, start=float(number if start is None else start))
        return Job(
            number=number,
            handle=1,
            request=self.predictor.decode(request({"x": values}).SerializeToString()),
            sink=self.sink,
            seq=next(self.seq),
            deadline=deadline,
            arrived=self.now,
        )

    def submit(self, *numbers: int) -> list[Job]:
        jobs = [self.job(number) for number in numbers]
        for job in jobs:
            self.batcher.submit(job)
        return jobs

    async def finish(self) -> None:
        """Let the running batch end, and what follows from it start."""
        await turns()
        self.executor.finish()
        await turns()

    def assert_answered(self, *numbers: int) -> None:
        """Each of these got its own answer, made of its own value."""
        for number in numbers:
            answer = self.sink.answers[number]
            assert isinstance(answer, bytes)
            assert np.frombuffer(parse(answer).raw_output_contents[0], np.float32)[0] == 2 * number


def fail_on_culprit(inputs: Arrays) -> Arrays:
    if (inputs["x"] == CULPRIT).any():
        raise ValueError("666 is no feature")
    return {"y": inputs["x"][:, :2] * 2}


def story(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_what_arrives_in_one_turn_shares_a_batch() -> None:
    """Requests of one loop turn run together, each is answered with its own rows, once."""

    async def test() -> None:
        bench = Bench()
        bench.submit(1, 2, 3)
        assert repr(bench.batcher) == "<Batcher 3 waiting, 0 running>"
        await bench.finish()
        assert bench.runtime.batches == [[1, 2, 3]]
        bench.assert_answered(1, 2, 3)
        assert bench.sink.outcomes[0].rows == 3
        await bench.batcher.drained()

    story(test)


def test_what_arrives_during_a_run_goes_next() -> None:
    """While a batch runs the next one gathers."""

    async def test() -> None:
        bench = Bench()
        bench.submit(1)
        await turns()
        bench.submit(2, 3)
        await turns()
        assert len(bench.executor.calls) == 1
        assert bench.batcher.in_flight == 3
        await bench.finish()
        await bench.finish()
        assert bench.runtime.batches == [[1], [2, 3]]

    story(test)


def test_short_runs_happen_in_the_loop() -> None:
    """A run that is expected to be short needs no thread; a longer one gets the version's own."""

    async def test() -> None:
        bench = Bench(inline=True)
        bench.submit(1, 2)
        await turns()
        bench.assert_answered(1, 2)
        assert not bench.executor.calls
        for _ in range(50):
            bench.cost.observe(1, 0.5)
        bench.submit(3)
        await bench.finish()
        bench.assert_answered(3)

    story(test)


def test_batches_are_bounded_and_follow_one_another() -> None:
    """More than fits is run in as many batches as needed, the loop breathing in between."""

    async def test() -> None:
        bench = Bench(Limits(2), inline=True)
        bench.submit(1, 2, 3, 4, 5)
        await bench.batcher.drained()
        assert bench.runtime.batches == [[1, 2], [3, 4], [5]]
        bench.assert_answered(1, 2, 3, 4, 5)

    story(test)


def test_expired_requests_cost_no_run() -> None:
    """A request whose deadline passed while it waited is answered so, its neighbours run."""

    async def test() -> None:
        bench = Bench()
        bench.submit(1)
        await turns()
        for job in (bench.job(2, deadline=5.0), bench.job(3, deadline=50.0)):
            bench.batcher.submit(job)
        bench.now = 10.0
        await bench.finish()
        await bench.finish()
        assert bench.runtime.batches == [[1], [3]]
        assert bench.sink.statuses() == {1: "OK", 2: "DEADLINE_EXCEEDED", 3: "OK"}

    story(test)


def test_a_run_that_ends_too_late_is_waste() -> None:
    """Its part for a request whose deadline passed meanwhile is counted, though the answer is still sent."""

    async def test() -> None:
        bench = Bench(Limits(8), inline=True)

        def run(inputs: Arrays) -> Arrays:
            bench.now = 2.0
            return {"y": inputs["x"][:, :2] * 2}

        bench.runtime.then = run
        for job in (bench.job(1, deadline=1.0), bench.job(2), bench.job(3), bench.job(4)):
            bench.batcher.submit(job)
        await bench.batcher.drained()
        bench.assert_answered(1, 2, 3, 4)
        assert bench.wasted == pytest.approx(0.25)

    story(test)


def test_max_wait_is_kept_by_a_timer() -> None:
    """A lone request runs by itself once it has waited as long as it may."""

    async def test() -> None:
        bench = Bench(Limits(8, max_wait_s=0.01), inline=True)
        bench.cost.observe(1, 0.001)
        bench.submit(1)
        await turns()
        assert bench.runtime.batches == []
        bench.now = 0.02
        await bench.batcher.drained()
        assert bench.runtime.batches == [[1]]

    story(test)


WHEN = ("never", "before", "during", "after")


@pytest.mark.parametrize("inline", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("when", list(itertools.product(WHEN, repeat=3)), ids="-".join)
def test_cancelling_any_of_a_batch_touches_no_other(when: tuple[str, ...], inline: bool) -> None:
    """Every way to cancel each of three requests before, during or after the run: exactly one answer each."""

    async def test() -> None:
        bench = Bench(inline=inline)
        jobs = bench.submit(1, 2, 3)

        def cancel(moment: str) -> None:
            for job, chosen in zip(jobs, when, strict=True):
                if chosen == moment:
                    bench.batcher.cancel(job)

        def run(inputs: Arrays) -> Arrays:
            cancel("during")
            return {"y": inputs["x"][:, :2] * 2}

        bench.runtime.then = run
        cancel("before")
        await turns()
        if not inline and bench.executor.calls:
            bench.executor.finish()
        await bench.batcher.drained()
        cancel("after")
        await turns()
        gone = [job.number for job, chosen in zip(jobs, when, strict=True) if chosen in ("before", "during")]
        assert bench.sink.statuses() == {number: "CANCELLED" if number in gone else "OK" for number in (1, 2, 3)}
        bench.assert_answered(*({1, 2, 3} - set(gone)))
        ran = [number for number, chosen in zip((1, 2, 3), when, strict=True) if chosen != "before"]
        assert bench.runtime.batches == ([ran] if ran else [])
        assert bench.wasted == pytest.approx(when.count("during") / max(1, len(ran)))
        assert bench.batcher.in_flight == 0

    story(test)


@pytest.mark.parametrize(
    "bad", [set(subset) for size in range(4) for subset in itertools.combinations((1, 2, 3), size)]
)
def test_only_the_culprits_fail(bad: set[int]) -> None:
    """A batch that raises is tried again, each request alone: whoever is fine gets an answer."""

    async def test() -> None:
        bench = Bench(inline=True)
        bench.runtime.then = fail_on_culprit
        for number in (1, 2, 3):
            bench.batcher.submit(bench.job(number, start=CULPRIT if number in bad else number))
        await bench.batcher.drained()
        assert bench.sink.statuses() == {number: "INTERNAL" if number in bad else "OK" for number in (1, 2, 3)}
        bench.assert_answered(*({1, 2, 3} - bad))
        assert len(bench.runtime.batches) == (4 if bad else 1)
        for number in bad:
            answer = bench.sink.answers[number]
            assert isinstance(answer, DodonaError)
            assert answer.message == "the model raised ValueError: 666 is no feature"

    story(test)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("kind", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_whatever_user_code_raises_fails_its_own_request_only(kind: type[BaseException], inline: bool) -> None:
    """Exceptions that mean something to the event loop mean nothing when a model raises them: the next run starts."""

    def raise_it(inputs: Arrays) -> Arrays:
        if (inputs["x"] == CULPRIT).any():
            raise kind
        return fail_on_culprit(inputs)

    async def test() -> None:
        bench = Bench(inline=inline)
        bench.runtime.then = raise_it
        bench.batcher.submit(bench.job(1, start=CULPRIT))
        if not inline:
            await bench.finish()
        await turns()
        assert bench.sink.statuses() == {1: "INTERNAL"}
        bench.submit(2)
        if not inline:
            await bench.finish()
        await bench.batcher.drained()
        bench.assert_answered(2)

    story(test)


def test_a_lone_culprit_is_not_tried_again() -> None:
    """Running the same request twice would tell nothing new."""

    async def test() -> None:
        bench = Bench(inline=True)
        bench.runtime.then = fail_on_culprit
        bench.batcher.submit(bench.job(1, start=CULPRIT))
        await bench.batcher.drained()
        assert bench.runtime.batches == [[CULPRIT]]
        assert bench.sink.statuses() == {1: "INTERNAL"}

    story(test)


def test_cancels_and_deadlines_hold_between_the_tries() -> None:
    """What was cancelled in the failed run, or expired before its own, is not run again."""

    async def test() -> None:
        bench = Bench()
        bench.runtime.then = fail_on_culprit
        jobs = [bench.job(1, start=CULPRIT), bench.job(2), bench.job(3, deadline=5.0)]
        for job in jobs:
            bench.batcher.submit(job)
        await turns()
        bench.batcher.cancel(jobs[1])
        bench.now = 10.0
        await bench.finish()
        await bench.finish()
        assert bench.runtime.batches == [[3, CULPRIT, 2], [CULPRIT]]
        assert bench.sink.statuses() == {1: "INTERNAL", 2: "CANCELLED", 3: "DEADLINE_EXCEEDED"}

    story(test)


def test_a_wrong_number_of_rows_fails_the_culprit_alone() -> None:
    """No row of such a batch can be told from another, so each request runs once more, alone."""

    def answer(inputs: Arrays) -> Arrays:
        values = inputs["x"][:, 0]
        return {"y": np.ones((len(values) - int(2.0 in values), 2), np.float32)}

    async def test() -> None:
        bench = Bench(inline=True)
        bench.runtime.then = answer
        bench.submit(1, 2, 3)
        await bench.batcher.drained()
        assert bench.runtime.batches == [[1, 2, 3], [1], [2], [3]]
        assert bench.sink.statuses() == {1: "OK", 2: "INTERNAL", 3: "OK"}

    story(test)


def test_nan_is_an_answer() -> None:
    """Whether NaN is wrong is the model's business."""

    async def test() -> None:
        bench = Bench(inline=True)
        bench.runtime.then = lambda inputs: {"y": np.full((len(inputs["x"]), 2), np.nan, np.float32)}
        bench.submit(1, 2)
        await bench.batcher.drained()
        assert bench.sink.statuses() == {1: "OK", 2: "OK"}

    story(test)


def test_shapes_that_differ_run_apart() -> None:
    """Requests whose open extents differ cannot be one array."""

    async def test() -> None:
        bench = Bench(inline=True)
        jobs = bench.submit(1, 2, 3)
        jobs[1].group = ((5,),)
        await bench.batcher.drained()
        assert bench.runtime.batches == [[1, 3], [2]]

    story(test)


def test_a_fault_of_ours_is_an_internal_error() -> None:
    """Should our own code fail, the callers learn that it did, without its words, and the next batch runs."""

    async def test() -> None:
        bench = Bench(inline=True)
        bench.runtime.then = lambda inputs: None  # type: ignore[arg-type,return-value]
        bench.submit(1)
        await bench.batcher.drained()
        assert str(bench.sink.answers[1]) == "AttributeError in the worker; see the worker's log"
        bench.runtime.then = None
        bench.submit(2)
        await bench.batcher.drained()
        bench.assert_answered(2)

    story(test)


def test_cancel_twice_is_once() -> None:
    """Cancelling what is gone already does nothing."""

    async def test() -> None:
        bench = Bench()
        (job,) = bench.submit(1)
        bench.batcher.cancel(job)
        bench.batcher.cancel(job)
        await bench.batcher.drained()
        bench.batcher.cancel(job)
        assert bench.sink.statuses() == {1: "CANCELLED"}
        assert not bench.executor.calls

    story(test)


def test_a_real_thread_answers_too() -> None:
    """With the standard executor a run happens in its thread and comes back to the loop."""
    from concurrent.futures import ThreadPoolExecutor

    async def test() -> None:
        bench = Bench()
        with ThreadPoolExecutor(1) as executor:
            bench.batcher._executor = executor
            bench.submit(1, 2)
            await bench.batcher.drained()
        bench.assert_answered(1, 2)

    story(test)


def test_a_run_that_hangs_is_given_up() -> None:
    """It and what waits behind it are reported UNAVAILABLE, the owner is told before; what comes late is dropped."""

    async def test() -> None:
        bench = Bench(Limits(2, run_timeout_s=0.01))
        told: list[int] = []
        bench.report = lambda: told.append(len(bench.hung))
        first, second, third = (bench.job(number) for number in (1, 2, 3))
        bench.batcher.submit(first)
        bench.batcher.submit(second)
        await turns()
        bench.batcher.submit(third)
        bench.batcher.cancel(second)
        await asyncio.wait_for(bench.batcher.drained(), 20)
        assert bench.hung == ["a run did not end within 0.01 s (batching.run_timeout_s)"]
        assert told[0] == 1
        assert bench.sink.statuses() == {1: "UNAVAILABLE", 2: "CANCELLED", 3: "UNAVAILABLE"}
        assert "batching.run_timeout_s" in str(bench.sink.answers[1])
        assert bench.wasted == 0.01
        bench.executor.finish()
        await turns()
        assert len(bench.sink.answers) == 3
        assert bench.batcher.in_flight == 0

    asyncio.run(test())


def test_a_run_that_ends_in_time_is_forgotten() -> None:
    """No timer of an earlier run strikes a later one."""

    async def test() -> None:
        bench = Bench(Limits(1, run_timeout_s=0.05))
        for number in range(8):
            bench.batcher.submit(bench.job(number))
            await turns()
            assert bench.batcher._patience is not None
            bench.executor.finish()
            await turns()
            assert bench.batcher._patience is None
        assert bench.hung == []
        assert set(bench.sink.statuses().values()) == {"OK"}

    asyncio.run(test())
