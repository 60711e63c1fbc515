"""What a worker tells Prometheus. Recorded per batch, by wrappers around the recipe, never inside it."""

from collections.abc import Callable

from serving.errors import Cancelled, DeadlineExceeded
from serving.metrics import ROWS_BUCKETS, Counter, Family, Gauge, Histogram, Metrics
from serving.spec import ModelSpec
from serving.status import Status
from serving.worker.job import Outcome

_LABELS = ("model", "version")
_NAMES = {int(status): status.name for status in Status}


class WorkerMetrics:
    """The families of a worker process; `of` gives those of one version."""

    def __init__(self) -> None:
        self.all = metrics = Metrics()
        self.requests = metrics.counter(
            "dodona_worker_requests_total", "Requests by outcome, a name of google.rpc.Code.", (*_LABELS, "status")
        )
        self.batch_rows = metrics.histogram("dodona_batch_rows", "Rows of an executed batch.", _LABELS, ROWS_BUCKETS)
        self.decode = metrics.histogram(
            "dodona_decode_seconds", "Decoding and assembling a batch's requests, in seconds.", _LABELS
        )
        self.queue = metrics.histogram(
            "dodona_queue_seconds", "Longest wait of a batch's requests in the worker, in seconds.", _LABELS
        )
        self.infer = metrics.histogram(
            "dodona_infer_seconds", "The runtime's own part of a batch, in seconds.", _LABELS
        )
        self.encode = metrics.histogram(
            "dodona_encode_seconds", "Splitting and encoding a batch's responses, in seconds.", _LABELS
        )
        self.in_flight = metrics.gauge("dodona_worker_in_flight", "Requests in the worker.", _LABELS)
        self.expired = metrics.counter(
            "dodona_expired_total", "Requests dropped because their deadline passed while they waited.", _LABELS
        )
        self.cancelled = metrics.counter(
            "dodona_cancelled_total", "Requests whose caller went away before the answer.", _LABELS
        )
        self.wasted = metrics.counter(
            "dodona_wasted_seconds_total",
            "Seconds of runs that failed, that no one waited for, or that ended after the deadline.",
            _LABELS,
        )
        self.load = metrics.gauge(
            "dodona_load_seconds", "Loading, warming up and golden examples, in seconds.", _LABELS
        )
        self.golden_failures = metrics.counter(
            "dodona_golden_failures_total", "Versions refused because of their golden examples.", _LABELS
        )
        self.ready = metrics.gauge("dodona_model_ready", "1 if the version is announced, else 0.", _LABELS)

        self.runs = metrics.counter("dodona_runs_total", "Executed batches, by who ran them.", (*_LABELS, "runtime"))
        self.compiled = metrics.gauge(
            "dodona_compiled",
            "1 at the state of the model's compiled form: compiled, slower, off, refused or differs.",
            (*_LABELS, "state"),
        )

        self.spans = metrics.counter(
            "dodona_spans_total", "Spans of traced requests, by what became of them.", ("outcome",)
        )

    def of(self, spec: ModelSpec) -> "VersionMetrics":
        return VersionMetrics(self, spec)


class VersionMetrics:
    """One version's series, looked up once."""

    def __init__(self, worker: WorkerMetrics, spec: ModelSpec) -> None:
        self._worker = worker
        self._labels = labels = (spec.name, spec.version)
        self._statuses: dict[int, Counter] = {}
        self._runs: dict[str, Counter] = {}
        self._state = ""
        self._ok = self._status(Status.OK)
        self.batch_rows: Histogram = worker.batch_rows.labels(*labels)
        self.decode: Histogram = worker.decode.labels(*labels)
        self.queue: Histogram = worker.queue.labels(*labels)
        self.infer: Histogram = worker.infer.labels(*labels)
        self.encode: Histogram = worker.encode.labels(*labels)
        self.expired: Counter = worker.expired.labels(*labels)
        self.cancelled: Counter = worker.cancelled.labels(*labels)
        self.wasted: Counter = worker.wasted.labels(*labels)
        self.load: Gauge = worker.load.labels(*labels)
        self.golden_failures: Counter = worker.golden_failures.labels(*labels)
        self.ready: Gauge = worker.ready.labels(*labels)

    def in_flight_from(self, source: Callable[[], float]) -> None:
        self._worker.in_flight.labels(*self._labels).source = source

    def compiled(self, state: str) -> None:
        self._state = state
        self._worker.compiled.labels(*self._labels, state).set(1)

    def count(self, status: int, requests: int = 1) -> None:
        self._status(status).inc(requests)
        if status == Cancelled.status:
            self.cancelled.inc(requests)
        elif status == DeadlineExceeded.status:
            self.expired.inc(requests)

    def record(self, outcome: Outcome) -> None:
        answered = 0
        for answer in outcome.answers:
            if isinstance(answer, bytes):
                answered += 1
            else:
                self.count(answer.status)
        self._ok.inc(answered)
        if outcome.rows:
            self.batch_rows.observe(outcome.rows)
            self.decode.observe(outcome.input_s)
            self.queue.observe(max([job.started - job.arrived for job in outcome.jobs]))
            self.infer.observe(outcome.infer_s)
            self.encode.observe(outcome.output_s)
            self._run(outcome.runtime).inc()

    def forget(self) -> None:
        """The version was unloaded: its gauges go, its counters and histograms stay for the last scrape to see."""
        families: tuple[Family[Gauge], ...] = (self._worker.in_flight, self._worker.load, self._worker.ready)
        for family in families:
            family.remove(*self._labels)
        self._worker.compiled.remove(*self._labels, self._state)

    def _run(self, runtime: str) -> Counter:
        counter = self._runs.get(runtime)
        if counter is None:
            counter = self._runs[runtime] = self._worker.runs.labels(*self._labels, runtime)
        return counter

    def _status(self, status: int) -> Counter:
        counter = self._statuses.get(status)
        if counter is None:
            name = _NAMES.get(status, "UNKNOWN")
            counter = self._statuses[status] = self._worker.requests.labels(*self._labels, name)
        return counter
