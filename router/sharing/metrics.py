"""What answering identical requests together comes to, for Prometheus: our names, and Triton's for the same figures."""

from collections.abc import Callable

from router.policy.replies import Shelf
from serving.metrics import Metrics
from serving.spec import ModelSpec

_BY_VERSION = ("model", "version")


class SharingFigures:
    """Of one version since it is known. Seconds are those spent looking up and storing."""

    __slots__ = ("_evicted", "collapsed", "hit_s", "hits", "miss_s", "misses", "passed_by", "shelf")

    def __init__(self) -> None:
        self.hits = self.misses = self.collapsed = self._evicted = 0
        self.hit_s = self.miss_s = 0.0
        self.passed_by = 0
        """Requests that were not looked up, because hardly any came again (router.policy.attention)."""
        self.shelf: Shelf | None = None
        """Where answers are kept now."""

    @property
    def evicted(self) -> int:
        return self._evicted + (self.shelf.evicted if self.shelf is not None else 0)

    @property
    def bytes(self) -> int:
        return self.shelf.bytes if self.shelf is not None else 0

    @property
    def entries(self) -> int:
        return len(self.shelf) if self.shelf is not None else 0

    def shelf_gone(self) -> None:
        self._evicted = self.evicted
        self.shelf = None


class SharingMetrics:
    """Read when scraped; recording costs nothing here."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters = {
            "hits": metrics.counter("dodona_cache_hits", "Requests answered with a kept answer.", _BY_VERSION),
            "misses": metrics.counter("dodona_cache_misses", "Requests that no kept answer was for.", _BY_VERSION),
            "collapsed": metrics.counter(
                "dodona_collapsed", "Requests answered by an identical one's run.", _BY_VERSION
            ),
            "passed_by": metrics.counter(
                "dodona_cache_passed_by", "Requests not looked up, as hardly any come again.", _BY_VERSION
            ),
            "evicted": metrics.counter("dodona_cache_evictions", "Kept answers that gave way to others.", _BY_VERSION),
        }
        self._gauges = {
            "bytes": metrics.gauge("dodona_cache_bytes", "Memory that kept answers take.", _BY_VERSION),
            "entries": metrics.gauge("dodona_cache_entries", "Answers that are kept.", _BY_VERSION),
        }
        self._tritons = {
            "hits": metrics.untyped("nv_cache_num_hits_per_model", "Triton's name of the hits.", _BY_VERSION),
            "misses": metrics.untyped("nv_cache_num_misses_per_model", "Triton's name of the misses.", _BY_VERSION),
        }
        self._durations = {
            "hit_s": metrics.untyped(
                "nv_cache_hit_duration_per_model", "Microseconds to answer the hits.", _BY_VERSION
            ),
            "miss_s": metrics.untyped(
                "nv_cache_miss_duration_per_model", "Microseconds to keep the answers of misses.", _BY_VERSION
            ),
        }

    def export(self, spec: ModelSpec, figures: SharingFigures) -> None:
        labels = (spec.name, spec.version)

        def reader(figure: str, factor: float = 1) -> Callable[[], float]:
            return lambda: getattr(figures, figure) * factor

        for families in (self._counters, self._tritons):
            for figure, family in families.items():
                family.labels(*labels).source = reader(figure)
        for figure, gauges in self._gauges.items():
            gauges.labels(*labels).source = reader(figure)
        for figure, family in self._durations.items():
            family.labels(*labels).source = reader(figure, 1e6)

    def remove(self, spec: ModelSpec) -> None:
        labels = (spec.name, spec.version)
        for families in (self._counters, self._tritons, self._durations):
            for family in families.values():
                family.remove(*labels)
        for gauges in self._gauges.values():
            gauges.remove(*labels)
