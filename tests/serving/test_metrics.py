"""Metrics recorded as plain integers, exposed in Prometheus' format."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import ROWS_BUCKETS, SECONDS_BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics.registry()).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counter_and_gauge_reach_the_page() -> None:
    """Counters get Prometheus' suffix; a gauge with a source is asked at scrape time."""
    metrics = Metrics()
    metrics.counter("c", "text", ["model"]).labels("m").inc(2)
    depth = [5]
    metrics.gauge("g", "text").labels().source = lambda: depth[0]
    depth[0] = 9
    page = samples(metrics)
    assert page["c_total", (("model", "m"),)] == 2
    assert page["g", ()] == 9


def test_histogram_is_cumulative_and_bounds_are_inclusive() -> None:
    """A value equal to a bound belongs to its bucket, one above the last to +Inf only."""
    metrics = Metrics()
    histogram = metrics.histogram("h", "text", buckets=ROWS_BUCKETS).labels()
    for value in (1, 2, 3, 100_000):
        histogram.observe(value)
    page = samples(metrics)
    assert [page["h_bucket", (("le", le),)] for le in ("1.0", "2.0", "4.0", "16384.0", "+Inf")] == [1, 2, 3, 3, 4]
    assert page["h_count", ()] == 4
    assert page["h_sum", ()] == 100_006


def test_buckets_of_seconds_span_100_us_to_46_s() -> None:
    """Three per decade, the same in every service."""
    assert SECONDS_BUCKETS[0] == 1e-4
    assert SECONDS_BUCKETS[3] == 1e-3
    assert 45 < SECONDS_BUCKETS[-1] < 47


def test_cardinality_is_bounded() -> None:
    """Past the limit new label sets share a child that is not exported; old ones go on."""
    metrics = Metrics(max_children=2)
    family = metrics.counter("c", "text", ["model"])
    for name in ("a", "b", "c", "d"):
        family.labels(name).inc()
    family.labels("a").inc()
    page = samples(metrics)
    assert {labels for name, labels in page if name == "c_total"} == {(("model", "a"),), (("model", "b"),)}
    assert page["c_total", (("model", "a"),)] == 2


def test_removed_children_leave_the_page() -> None:
    """All series of a version that has gone, whatever their further labels."""
    metrics = Metrics()
    family = metrics.gauge("g", "text", ["model", "status"])
    for model, status in (("a", "OK"), ("a", "INTERNAL"), ("b", "OK")):
        family.labels(model, status).set(1)
    family.remove("a")
    family.remove("a")
    left = [labels for name, labels in samples(metrics) if name == "g"]
    assert left == [(("model", "b"), ("status", "OK"))]


def test_process_figures_are_there_too() -> None:
    """CPU and memory of every process on the same page."""
    assert samples(Metrics())["process_resident_memory_bytes", ()] > 0
