"""One version in service: its predictor, its queue, its thread, its figures, and how routers see it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

from protos import link_pb2
from serving.policy.batching import Limits, within_slo
from serving.spec import ModelSpec
from serving.worker.announce import model_message
from serving.worker.batcher import Batcher
from serving.worker.job import Outcome, Sink
from serving.worker.load import Loaded
from serving.worker.metrics import VersionMetrics
from serving.worker.tracing import WorkerTracer

log = logging.getLogger(__name__)


class ServedVersion:
    """Made in the event loop. `decode` and `batcher` are the hot path's way in; outcomes go to the jobs' sinks."""

    def __init__(
        self,
        handle: int,
        loaded: Loaded,
        metrics: VersionMetrics,
        *,
        inline_below_s: float,
        hung: "Callable[[ServedVersion, str], None]",
        tracer: WorkerTracer | None = None,
    ) -> None:
        """`hung` is called with the reason once a run is given up, before its requests are reported."""
        predictor = loaded.predictor
        limits = Limits(
            predictor.max_batch_rows,
            predictor.max_wait_s,
            predictor.signature.batched,
            loaded.bundle.definition.slo.latency_p99_s or inf,
            loaded.bundle.definition.batching.run_timeout_s or inf,
        )
        self.handle = handle
        self.metrics = metrics
        self.device = predictor.device
        self.message: link_pb2.Model = model_message(handle, loaded.bundle, predictor, loaded.load_s)
        self.decode = predictor.decode
        self.cost = loaded.cost
        self._limits = limits
        self._tracer = tracer
        self._predictor = predictor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"run-{predictor.spec}")
        self.batcher = Batcher(
            run=predictor.run,
            limits=limits,
            cost=loaded.cost,
            executor=self._thread,
            report=self._report,
            waste=metrics.wasted.inc,
            hung=lambda reason: hung(self, reason),
            inline_below_s=inline_below_s,
        )
        metrics.in_flight_from(lambda: self.batcher.in_flight)
        if predictor.plan is not None:
            metrics.compiled(predictor.plan.state)
        metrics.load.set(loaded.load_s)
        metrics.ready.set(1)

    @property
    def spec(self) -> ModelSpec:
        return self._predictor.spec

    @property
    def largest_batch_rows(self) -> int:
        """Rows of a run at most, as the SLO and the cost of runs stand now."""
        return within_slo(self._limits, self.cost)

    def closing(self) -> Callable[[], None]:
        """To be called in another thread once nothing waits or runs: gives memory and the thread back; nothing where
        a run hangs, because that has both as long as the process lives."""
        self.metrics.ready.set(0)

        def close() -> None:
            if self.batcher.hung:
                return
            self._thread.shutdown(wait=True)
            try:
                self._predictor.close()
            except BaseException:  # user code; whatever it still holds, the version is out of service
                log.exception("closing failed", extra={"model": str(self.spec)})

        return close

    def _report(self, outcome: Outcome) -> None:
        self.metrics.record(outcome)
        tracer = self._tracer
        if tracer is None or not tracer.open:
            self._deliver(outcome)
        else:
            answered_at = tracer.clock()
            self._deliver(outcome)
            tracer.finished(self.spec, outcome, answered_at)

    @staticmethod
    def _deliver(outcome: Outcome) -> None:
        first = outcome.jobs[0].sink
        if all(job.sink is first for job in outcome.jobs):
            first.deliver(outcome)
            return
        for sink, part in _by_sink(outcome).items():
            sink.deliver(part)


def _by_sink(outcome: Outcome) -> dict[Sink, Outcome]:
    """The outcome cut by where its jobs came from; each part tells of the whole batch."""
    parts: dict[Sink, Outcome] = {}
    for job, answer in zip(outcome.jobs, outcome.answers, strict=True):
        part = parts.get(job.sink)
        if part is None:
            part = parts[job.sink] = Outcome(
                outcome.handle, [], [], outcome.rows, outcome.input_s, outcome.infer_s, outcome.output_s
            )
        part.jobs.append(job)
        part.answers.append(answer)
    return parts
