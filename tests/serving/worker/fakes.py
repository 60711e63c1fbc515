"""Stand-ins with a handle: a runtime that waits to be told, and a sink that remembers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np

from serving.errors import DodonaError
from serving.runtimes.base import Arrays
from serving.spec import Signature
from serving.worker.job import Job, Outcome


class FakeRuntime:
    """Doubles its first input into `y`; `then` decides what a run does instead."""

    device = "cpu"
    text_inputs: frozenset[str] = frozenset()

    def __init__(self, signature: Signature | None = None) -> None:
        self.signature = signature
        self.batches: list[list[float]] = []
        self.then: Callable[[Arrays], Arrays] | None = None
        self.closed = 0

    def load(self, bundle: Any) -> Signature:
        assert self.signature is not None
        return self.signature

    def predict(self, inputs: Arrays) -> Arrays:
        x = next(iter(inputs.values()))
        self.batches.append(np.atleast_1d(x).reshape(len(x) if x.ndim else 1, -1)[:, 0].tolist())
        return self.then(inputs) if self.then else {"y": x[:, :2] * 2}

    def close(self) -> None:
        self.closed += 1


class ManualExecutor(Executor):
    """Runs nothing until told: `finish()` runs the oldest call in the caller's thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append((future, lambda: fn(*args, **kwargs)))
        return future

    def finish(self) -> None:
        future, call = self.calls.pop(0)
        future.set_result(call())


class FakeSink:
    """Every answer by the job's number; a second answer to one job is an error."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes | DodonaError] = {}
        self.outcomes: list[Outcome] = []

    def deliver(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        for job, answer in zip(outcome.jobs, outcome.answers, strict=True):
            assert job.number not in self.answers, f"{job.number} was answered twice"
            self.answers[job.number] = answer

    def statuses(self) -> dict[int, str]:
        return {
            number: answer.status.name if isinstance(answer, DodonaError) else "OK"
            for number, answer in self.answers.items()
        }


async def turns(count: int = 5) -> None:
    """Let the event loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


__all__ = ["FakeRuntime", "FakeSink", "Job", "ManualExecutor", "turns"]
