"""Metrics that cost almost nothing to record: plain integers, turned into Prometheus series only when scraped.

prometheus_client's own counters take a lock and a label lookup per observation (about 1 us); a request records five.
Here a family hands out one child per label set, once, at set-up; the hot path does `child.inc()` or
`child.observe(x)` on it. All children live in the event loop's thread, so no lock is needed; a scrape from another
thread may see a histogram's sum one observation ahead of its buckets, which Prometheus tolerates.

Label values come only from announced model versions, workers and fixed enumerations, never from requests, so
cardinality is bounded; `max_children` is the backstop.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

log = logging.getLogger(__name__)

# Fixed for all services so that quantiles can be added up over a fleet: a factor of about 2.15 from 100 us to 46 s.
SECONDS_BUCKETS: Final = tuple(round(1e-4 * 10 ** (step / 3), 7) for step in range(18))
ROWS_BUCKETS: Final = tuple(float(2**power) for power in range(15))


class Counter:
    """`inc` it, or give it a `source` that counts elsewhere and is asked at scrape time."""

    __slots__ = ("source", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.source: Callable[[], float] | None = None

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def read(self) -> float:
        return self.source() if self.source else self.value


class Gauge:
    """`set` it, or give it a `source` that is asked at scrape time."""

    __slots__ = ("source", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.source: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        self.value = value

    def read(self) -> float:
        return self.source() if self.source else self.value


class Histogram:
    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            total += count
            yield ("+Inf" if bound == float("inf") else repr(bound)), total


Child = TypeVar("Child")


class Family(Generic[Child]):
    """All series of one name. `labels(...)` gives the child, making it on first use; `remove` forgets it."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], make: Callable[[], Child], max_children: int
    ) -> None:
        self.name = name
        self.text = text
        self.label_names = tuple(labels)
        self.children: dict[tuple[str, ...], Child] = {}
        self._make = make
        self._max_children = max_children
        self._overflow = make()
        self._told = False

    def labels(self, *values: str) -> Child:
        """The child of these label values. Past `max_children` all share one child that is not exported."""
        child = self.children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} takes labels {self.label_names}, got {values}")
            if len(self.children) >= self._max_children:
                self._tell_overflow()
                return self._overflow
            child = self.children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Forget every child whose label values begin with these."""
        for key in [key for key in self.children if key[: len(values)] == values]:
            del self.children[key]

    def _tell_overflow(self) -> None:
        if not self._told:
            self._told = True
            log.warning("too many series", extra={"metric": self.name, "max_children": self._max_children})


class Metrics(Collector):
    """The families of one process. Register with `prometheus_client`, or render with `registry()`."""

    def __init__(self, max_children: int = 10_000) -> None:
        self._max_children = max_children
        self._counters: list[Family[Counter]] = []
        self._untyped: list[Family[Counter]] = []
        self._gauges: list[Family[Gauge]] = []
        self._histograms: list[Family[Histogram]] = []

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Counter]:
        family = Family(name, text, labels, Counter, self._max_children)
        self._counters.append(family)
        return family

    def untyped(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Counter]:
        """Counters under names that others have given, without the _total that Prometheus' clients add to a counter's;
        to Prometheus they are the same."""
        family = Family(name, text, labels, Counter, self._max_children)
        self._untyped.append(family)
        return family

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Gauge]:
        family = Family(name, text, labels, Gauge, self._max_children)
        self._gauges.append(family)
        return family

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS_BUCKETS
    ) -> Family[Histogram]:
        family = Family(name, text, labels, lambda: Histogram(buckets), self._max_children)
        self._histograms.append(family)
        return family

    def collect(self) -> Iterable[Metric]:
        for counters in self._counters:
            metric = CounterMetricFamily(counters.name, counters.text, labels=counters.label_names)
            for values, counter in list(counters.children.items()):
                metric.add_metric(values, counter.read())
            yield metric
        for untyped in self._untyped:
            unknown = UnknownMetricFamily(untyped.name, untyped.text, labels=untyped.label_names)
            for values, counter in list(untyped.children.items()):
                unknown.add_metric(values, counter.read())
            yield unknown
        for gauges in self._gauges:
            gauge_metric = GaugeMetricFamily(gauges.name, gauges.text, labels=gauges.label_names)
            for values, gauge in list(gauges.children.items()):
                gauge_metric.add_metric(values, gauge.read())
            yield gauge_metric
        for histograms in self._histograms:
            histogram_metric = HistogramMetricFamily(histograms.name, histograms.text, labels=histograms.label_names)
            for values, histogram in list(histograms.children.items()):
                histogram_metric.add_metric(values, list(histogram.cumulative()), histogram.sum)
            yield histogram_metric

    def registry(self) -> CollectorRegistry:
        """A registry with these families and the process's own figures (CPU, memory, open files)."""
        from prometheus_client import PlatformCollector, ProcessCollector

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        return registry
