"""One request on its way through the worker, and the outcome of a batch of them."""

from dataclasses import dataclass
from typing import Protocol

from serving.errors import DodonaError
from serving.policy.batching import Waiting
from serving.tracing.context import Context
from serving.worker.request import DecodedRequest

WAITING, RUNNING, DONE = range(3)
"""States of a job, plain numbers because every request passes through all three."""


class Sink(Protocol):
    """Where outcomes go: a link, or a test."""

    def deliver(self, outcome: "Outcome") -> None:
        """Called in the event loop, once for all jobs of one batch that came from here."""


class JobTrace:
    """Where a sampled request hangs in its trace: its parent, and the span that stands for it here."""

    __slots__ = ("context", "span_id")

    def __init__(self, context: Context, span_id: bytes) -> None:
        self.context = context
        self.span_id = span_id


class Job(Waiting):
    """`number` is the router's id of it, unique on its link only."""

    __slots__ = (
        "cancelled",
        "decode_s",
        "handle",
        "number",
        "request",
        "request_id",
        "sink",
        "started",
        "state",
        "trace",
    )

    def __init__(
        self,
        *,
        number: int,
        handle: int,
        request: DecodedRequest,
        sink: Sink,
        seq: int,
        deadline: float,
        arrived: float,
        priority: int = 0,
        request_id: str = "",
        decode_s: float = 0.0,
        tenant: str = "",
        weight: float = 1.0,
    ) -> None:
        super().__init__(
            seq=seq,
            rows=request.rows,
            deadline=deadline,
            arrived=arrived,
            priority=priority,
            group=request.shapes,
            tenant=tenant,
            weight=weight,
        )
        self.number = number
        self.handle = handle
        self.request = request
        self.sink = sink
        self.request_id = request_id
        self.decode_s = decode_s
        self.started = 0.0
        self.state = WAITING
        self.trace: JobTrace | None = None
        """None for a request that is not sampled."""
        self.cancelled = False
        """The caller has gone; its part of a running batch is thrown away."""


@dataclass(slots=True)
class Outcome:
    """What became of jobs of one version: `answers[i]` is the response of `jobs[i]` or why there is none.

    `rows` counts those of the executed batch, 0 if none was run for these jobs. Times in seconds.
    """

    handle: int
    jobs: list[Job]
    answers: "list[bytes | DodonaError]"
    rows: int = 0
    input_s: float = 0.0
    infer_s: float = 0.0
    output_s: float = 0.0
    runtime: str = ""
    began: float = 0.0
    """When the run began, of the same clock as the jobs' times; 0 = none."""
