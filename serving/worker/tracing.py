"""What a sampled request leaves behind in the worker: one span below the router's link, and its parts.

    worker                server: from the frame's arrival to the answer
      decode
      batch wait          until a run of the runtime began
      assemble            the batch's tensors put together
      run                 the runtime's own part; links to the other sampled requests of the batch
      encode              the batch's responses

The router has decided which requests are sampled. Nothing is done for the others; the spans of a batch are made after
its answers have left, from times that are taken anyway.
"""

from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Final

from protos import link_pb2
from serving.errors import DodonaError
from serving.spec import ModelSpec
from serving.tracing.clock import wall_offset_ns
from serving.tracing.context import read
from serving.tracing.otlp import Kind, attribute, failed, link, shape, span
from serving.worker.job import Job, JobTrace, Outcome

_DECODE: Final = shape("decode", Kind.INTERNAL, {})
_WAIT: Final = shape("batch wait", Kind.INTERNAL, {})
_ASSEMBLE: Final = shape("assemble", Kind.INTERNAL, {})
_ENCODE: Final = shape("encode", Kind.INTERNAL, {})
_MAX_LINKS: Final = 32


class WorkerTracer:
    """`record` takes finished spans; `random_bytes(n)` makes ids."""

    def __init__(
        self,
        record: Callable[..., None],
        random_bytes: Callable[[int], bytes],
        *,
        clock: Callable[[], float] = monotonic,
        offset_ns: Callable[[], int] = wall_offset_ns,
    ) -> None:
        self.open = 0
        """Sampled requests in the worker; while it is 0 nobody need ask."""
        self.clock = clock
        self._record = record
        self._random_bytes = random_bytes
        self._offset_ns = offset_ns

    def mark(self, work: link_pb2.Work, jobs: "dict[int, Job]") -> None:
        """Note which jobs of a frame are sampled."""
        states = work.tracestates or [""] * len(work.ids)
        for number, traceparent, state in zip(work.ids, work.traceparents, states, strict=True):
            job = jobs.get(number)
            context = read(traceparent) if traceparent and job is not None else None
            if job is not None and context is not None and context.sampled:
                context.add_state(state)
                job.trace = JobTrace(context, self._random_bytes(8))
                self.open += 1

    def finished(self, spec: ModelSpec, outcome: Outcome, answered_at: float) -> None:
        """Record the sampled requests of a batch, or of several that got no run, answered at this time of `clock`."""
        traced = [index for index, job in enumerate(outcome.jobs) if job.trace is not None]
        if not traced:
            return
        self.open -= len(traced)
        run = _Run(outcome, answered_at, self._offset_ns())
        for index in traced:
            self._request(spec, run, outcome.jobs[index], outcome.answers[index])

    def _request(self, spec: ModelSpec, run: "_Run", job: Job, answer: bytes | DodonaError) -> None:
        trace = job.trace
        assert trace is not None
        more = attribute("dodona.rows", job.rows)
        if isinstance(answer, DodonaError):
            more += attribute("error.type", answer.status.name) + failed(str(answer))
        arrived = job.arrived - job.decode_s
        spans = [
            span(
                _form_of(spec) + more,
                trace.context,
                trace.span_id,
                trace.context.span_id,
                run.ns(arrived),
                run.ns(run.now),
                remote_parent=True,
            ),
            self._child(_DECODE, trace, run.ns(arrived), run.ns(job.arrived)),
            self._child(_WAIT, trace, run.ns(job.arrived), run.ns(run.began or run.now)),
        ]
        if run.began:
            batch = run.form(spec) + run.links(job)
            spans += [
                self._child(_ASSEMBLE, trace, run.ns(run.began), run.ns(run.assembled)),
                self._child(batch, trace, run.ns(run.assembled), run.ns(run.inferred)),
                self._child(_ENCODE, trace, run.ns(run.inferred), run.ns(run.encoded)),
            ]
        self._record(*spans)

    def _child(self, form: bytes, trace: JobTrace, start_ns: int, end_ns: int) -> bytes:
        return span(form, trace.context, self._random_bytes(8), trace.span_id, start_ns, end_ns)


class _Run:
    """The times of a batch, as readings of the monotonic clock in seconds. `began` is 0 where nothing ran."""

    def __init__(self, outcome: Outcome, now: float, offset_ns: int) -> None:
        self.now = now
        self.began = outcome.began
        self.assembled = self.began + outcome.input_s - sum([job.decode_s for job in outcome.jobs])
        self.inferred = self.assembled + outcome.infer_s
        self.encoded = min(now, self.inferred + outcome.output_s)
        self._outcome = outcome
        self._offset_ns = offset_ns
        self._links = [(job, link(job.trace.context, job.trace.span_id)) for job in outcome.jobs if job.trace]

    def ns(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset_ns

    def form(self, spec: ModelSpec) -> bytes:
        outcome = self._outcome
        rows, requests = (
            attribute("dodona.batch.rows", outcome.rows),
            attribute("dodona.batch.requests", len(outcome.jobs)),
        )
        return _run_form(spec, outcome.runtime) + rows + requests

    def links(self, job: Job) -> bytes:
        """To the other sampled requests that shared the run."""
        return b"".join([made for other, made in self._links if other is not job][:_MAX_LINKS])


@lru_cache(1024)
def _form_of(spec: ModelSpec) -> bytes:
    attributes = {"rpc.system": "dodona.link", "dodona.model": spec.name, "dodona.model.version": spec.version}
    return shape("worker", Kind.SERVER, attributes)


@lru_cache(1024)
def _run_form(spec: ModelSpec, runtime: str) -> bytes:
    attributes = {"dodona.model": spec.name, "dodona.model.version": spec.version, "dodona.runtime": runtime}
    return shape("run", Kind.INTERNAL, attributes)
