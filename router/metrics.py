"""The router's metric families. Names and labels are a contract with dashboards: docs/reference/metrics.md."""

from router.sharing.metrics import SharingFigures, SharingMetrics
from serving.metrics import Counter, Histogram, Metrics
from serving.spec import ModelSpec
from serving.status import Status

_BY_VERSION = ("model", "version")


class PoolMetrics:
    """The children of one version, looked up once."""

    __slots__ = ("_forgotten", "_metrics", "_spec", "queue_seconds", "request_seconds", "retries", "succeeded")

    def __init__(self, metrics: "RouterMetrics", spec: ModelSpec) -> None:
        labels = (spec.name, spec.version)
        self._metrics = metrics
        self._spec = spec
        self._forgotten = False
        self.request_seconds: Histogram = metrics.request_seconds.labels(*labels)
        self.queue_seconds: Histogram = metrics.queue_seconds.labels(*labels)
        self.succeeded: Counter = metrics.requests.labels(*labels, Status.OK.name)
        self.retries: Counter = metrics.retries.labels(*labels)

    def failed(self, status: Status) -> None:
        if not self._forgotten:
            self._metrics.requests.labels(self._spec.name, self._spec.version, status.name).inc()

    def shares(self, figures: SharingFigures) -> None:
        """Answers of the version may be shared: what comes of it is exported from now on."""
        if not self._forgotten:
            self._metrics.sharing.export(self._spec, figures)

    def forget(self) -> None:
        """The version has gone: its series go too, so that versions that come and go do not add up for ever."""
        self._forgotten = True
        labels, families = (self._spec.name, self._spec.version), self._metrics
        for gauges in (families.pending, families.in_flight, families.replicas):
            gauges.remove(*labels)
        for counters in (families.requests, families.retries):
            counters.remove(*labels)
        for histograms in (families.request_seconds, families.queue_seconds):
            histograms.remove(*labels)
        families.sharing.remove(self._spec)


class RouterMetrics:
    def __init__(self, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.requests = self.metrics.counter(
            "dodona_requests", "Requests answered, by outcome.", (*_BY_VERSION, "status")
        )
        self.request_seconds = self.metrics.histogram(
            "dodona_request_seconds", "Time from acceptance in the router to the answer.", _BY_VERSION
        )
        self.queue_seconds = self.metrics.histogram(
            "dodona_router_queue_seconds", "Time that requests with no free replica waited in the router.", _BY_VERSION
        )
        self.retries = self.metrics.counter(
            "dodona_retries", "Requests sent again after their replica was lost.", _BY_VERSION
        )
        self.shed = self.metrics.counter("dodona_shed", "Requests refused to protect the rest.", ("reason",))
        self.pending = self.metrics.gauge("dodona_pending", "Requests waiting in the router.", _BY_VERSION)
        self.in_flight = self.metrics.gauge("dodona_in_flight", "Requests at workers.", _BY_VERSION)
        self.replicas = self.metrics.gauge("dodona_replicas", "Replicas that are ready.", _BY_VERSION)
        self.spans = self.metrics.counter(
            "dodona_spans", "Spans of traced requests, by what became of them.", ("outcome",)
        )
        self.front = self.metrics.counter("dodona_front", "What the gRPC front counts.", ("figure",))
        self.connections = self.metrics.gauge("dodona_front_connections", "Open connections of the gRPC front.")
        self.peers = self.metrics.gauge("dodona_link_peers", "Connected workers and agents.", ("role",))
        self.sharing = SharingMetrics(self.metrics)
