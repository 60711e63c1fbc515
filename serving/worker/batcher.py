"""The shell around the batching policy: keeps what waits, runs what the policy says, where it disturbs least.

A run that is expected to be short happens in the event loop: handing it to a thread and back costs more than it does.
A longer one happens in the version's own thread, so that heartbeats, cancels and other models go on meanwhile.

All state changes happen in functions without `await`, in the event loop. Every job is reported exactly once through
`report`, whatever happens to it; cancelling one never touches another.

A run in the thread that does not come back is given up: nothing can end it but the end of the process, so whoever
owns that is told (`hung`), and everything in hand is reported UNAVAILABLE, which a router sends elsewhere. A run that
holds up the whole event loop is for those to notice who no longer hear from it (supervise.silence_timeout_s).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from math import inf
from time import monotonic
from typing import Final

from serving.errors import Cancelled, DeadlineExceeded, DodonaError, InternalError, ModelFailed, Unavailable
from serving.policy.batching import Drop, Limits, Run, Snapshot, WaitUntil, decide, patience_s
from serving.policy.cost import RunCost
from serving.policy.turns import Turns
from serving.worker.job import DONE, RUNNING, WAITING, Job, Outcome
from serving.worker.predictor import Answered
from serving.worker.request import DecodedRequest

log = logging.getLogger(__name__)

_GAP_WEIGHT: Final = 0.1  # of the newest gap between two requests in their average
_SHORTEST_TIMER_S: Final = 0.001  # event loops count in milliseconds; a shorter timer would fire too early, and again


class Batcher:
    """Runs the jobs of one model version, one batch at a time.

    `run` answers requests that share a batch (it is called from one thread at a time); `report` takes every outcome,
    `waste` the seconds of runs whose answers nobody will get, `hung` the reason for giving up a run.
    """

    def __init__(
        self,
        *,
        run: Callable[[list[DecodedRequest]], Answered],
        limits: Limits,
        cost: RunCost,
        executor: Executor,
        report: Callable[[Outcome], None],
        waste: Callable[[float], None],
        hung: Callable[[str], None],
        inline_below_s: float = 0.002,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._run = run
        self._limits = limits
        self._cost = cost
        self._executor = executor
        self._report = report
        self._waste = waste
        self._tell_hung = hung
        self.hung = False
        """Whether a run was given up: from then on nothing runs any more."""
        self._patience: asyncio.TimerHandle | None = None
        self._inline_below_s = inline_below_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns: Turns | None = None
        self._gap_s = 0.0
        self._came_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<Batcher {len(self._waiting)} waiting, {len(self._running)} running>"

    @property
    def in_flight(self) -> int:
        """Jobs accepted and not yet reported."""
        return len(self._waiting) + len(self._running)

    def submit(self, job: Job) -> None:
        """Not after it hung."""
        self._waiting.append(job)
        if job.tenant and self._turns is None:
            self._turns = Turns(self._limits.max_batch_rows)
        if self._limits.max_wait_s:
            if self._came_at:
                self._gap_s += _GAP_WEIGHT * (job.arrived - self._came_at - self._gap_s)
            self._came_at = job.arrived
        if not self._scheduled:
            self._idle.clear()
            self._schedule()

    def cancel(self, job: Job) -> None:
        """The caller has gone: out of the queue if it waits, its part of the answer thrown away if it runs."""
        if job.state == DONE or job.cancelled:
            return
        job.cancelled = True
        if job.state == WAITING:
            self._take_out([job])
            self._close([job], Cancelled("the caller went away"))
            self._schedule()

    async def drained(self) -> None:
        """Returns when nothing waits or runs."""
        await self._idle.wait()

    def _schedule(self) -> None:
        # In the next turn of the loop, so that all that arrived in this one, from all routers, shares a batch.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = False
        if self.hung:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        snapshot = Snapshot(self._waiting, bool(self._running), self._cost, self._gap_s, self._turns)
        action = decide(snapshot, self._limits, now)
        if isinstance(action, Run):
            self._start(action.batch, now)
        elif isinstance(action, Drop):
            self._drop(action.expired)
        elif isinstance(action, WaitUntil):
            self._timer = self._loop.call_later(max(action.at - now, _SHORTEST_TIMER_S), self._step)
        elif not self._waiting and not self._running:
            self._idle.set()

    def _drop(self, expired: list[Job]) -> None:
        self._take_out(expired)
        self._close(expired, DeadlineExceeded("the deadline passed while the request waited in the worker"))
        self._schedule()

    def _close(self, jobs: list[Job], error: DodonaError) -> None:
        """Report jobs that got no run."""
        for job in jobs:
            job.state = DONE
        self._report(Outcome(jobs[0].handle, jobs, [error] * len(jobs)))

    def _start(self, batch: list[Job], now: float) -> None:
        self._take_out(batch)
        for job in batch:
            job.started = now
            job.state = RUNNING
        self._running = batch
        if self._turns is not None:
            self._turns.ran(batch)
        requests = [job.request for job in batch]
        rows = sum([job.rows for job in batch])
        if self._cost.seen and self._cost.expected_s(rows) < self._inline_below_s:
            self._finish(self._attempt(requests))
            return
        running = self._executor.submit(self._attempt, requests)
        running.add_done_callback(self._hand_back)
        seconds = patience_s(rows, self._limits, self._cost)
        if seconds < inf:
            self._patience = self._loop.call_later(seconds, self._give_up, seconds)

    def _take_out(self, jobs: list[Job]) -> None:
        if len(jobs) == len(self._waiting):
            self._waiting = []
        else:
            gone = set(map(id, jobs))
            self._waiting = [job for job in self._waiting if id(job) not in gone]

    def _attempt(self, requests: list[DecodedRequest]) -> "tuple[Answered | DodonaError, float]":
        """In the loop or in the thread: the answers or why there are none, and the seconds it took."""
        begin = self._clock()
        try:
            answered = self._run(requests)
            answered.began = begin
            result: Answered | DodonaError = answered
        except DodonaError as error:
            result = error
        except BaseException as error:  # a fault of ours must not take the batch's callers with it
            log.exception("batch failed")
            result = InternalError(f"{type(error).__name__} in the worker", remedy="see the worker's log")
            result.__cause__ = error
        return result, self._clock() - begin

    def _hand_back(self, running: "Future[tuple[Answered | DodonaError, float]]") -> None:
        """In the thread: back to the loop."""
        self._loop.call_soon_threadsafe(self._come_back, running.result())

    def _come_back(self, attempt: "tuple[Answered | DodonaError, float]") -> None:
        if self.hung:  # its requests were given up long ago, and others may have answered them
            log.warning("a hung run came back", extra={"seconds": round(attempt[1], 3)})
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._finish(attempt)

    def _give_up(self, seconds: float) -> None:
        self.hung = True
        jobs = self._running + self._waiting
        self._running, self._waiting = [], []
        if self._timer is not None:
            self._timer.cancel()
        self._waste(seconds)
        reason = f"a run did not end within {seconds:g} s (batching.run_timeout_s)"
        self._tell_hung(reason)
        gone = [job for job in jobs if job.cancelled]
        left = [job for job in jobs if not job.cancelled]
        if gone:
            self._close(gone, Cancelled("the caller went away"))
        if left:
            self._close(
                left, Unavailable(f"the model hangs: {reason}", remedy="look at the model, or raise the setting")
            )
        self._idle.set()

    def _finish(self, attempt: "tuple[Answered | DodonaError, float]") -> None:
        result, took_s = attempt
        batch, self._running = self._running, []
        if isinstance(result, Answered):
            self._cost.observe(result.rows, took_s)
            self._answer(batch, result)
        else:
            self._fail(batch, result, took_s)
        if self._waiting:
            self._schedule()
        else:  # a further turn of the loop, with nothing to decide, is a twentieth of a lone request here
            self._idle.set()

    def _answer(self, batch: list[Job], result: Answered) -> None:
        answers: list[bytes | DodonaError] = [*result.responses]
        wasted_rows = 0
        now = self._clock()
        for index, job in enumerate(batch):
            job.state = DONE
            if job.cancelled:
                answers[index] = Cancelled("the caller went away")
                wasted_rows += job.rows
            elif job.deadline <= now:
                wasted_rows += job.rows
        if wasted_rows:
            self._waste(result.infer_s * wasted_rows / result.rows)
        self._report(
            Outcome(
                batch[0].handle,
                batch,
                answers,
                rows=result.rows,
                input_s=sum([job.decode_s for job in batch]) + result.assemble_s,
                infer_s=result.infer_s,
                output_s=result.encode_s,
                runtime=result.runtime,
                began=result.began,
            )
        )

    def _fail(self, batch: list[Job], error: DodonaError, took_s: float) -> None:
        """A batch that failed is tried again once, each request alone, so that only the culprit fails."""
        log.warning(
            "batch failed",
            extra={
                "error": str(error),
                "rows": sum(job.rows for job in batch),
                "request_id": [job.request_id for job in batch if job.request_id][:16],
                **_trace_ids(batch),
            },
            exc_info=error.__cause__ if isinstance(error, ModelFailed) else None,
        )
        self._waste(took_s)
        again = len(batch) > 1
        gone = [job for job in batch if job.cancelled]
        if gone:
            self._close(gone, Cancelled("the caller went away"))
        present = [job for job in batch if not job.cancelled]
        if not again and present:
            self._close(present, error)
        for job in present if again else ():
            job.state = WAITING
            job.group = job  # equal to no other: it runs alone
            self._waiting.append(job)


def _trace_ids(batch: list[Job]) -> dict[str, list[str]]:
    traced = [job.trace.context.trace_id.hex() for job in batch if job.trace is not None][:16]
    return {"trace_id": traced} if traced else {}
