"""Figures of several processes as those of one."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from router.metrics import PoolMetrics, RouterMetrics
from router.processes.exposition import add_balance
from router.processes.figures import Buried, Figures, added, read
from router.statistics import Statistics
from serving.spec import ModelSpec
from serving.status import Status

SPEC = ModelSpec("m", "1")
OTHER = ModelSpec("gone", "1")


class Router:
    """A process that has answered some requests."""

    def __init__(self, requests: int = 0, failures: int = 0, spec: ModelSpec = SPEC) -> None:
        self.metrics = RouterMetrics()
        self.statistics = Statistics()
        self.spec = spec
        pool = PoolMetrics(self.metrics, spec)
        self.metrics.replicas.labels(spec.name, spec.version).set(2)
        self.metrics.in_flight.labels(spec.name, spec.version).set(requests)
        for _ in range(requests):
            pool.succeeded.inc()
            pool.request_seconds.observe(0.01)
            self.statistics.answered(0.01)
        for _ in range(failures):
            pool.failed(Status.INTERNAL)
            self.statistics.refused(0.02)

    def figures(self) -> Figures:
        """As the parent gets them."""
        registry = self.metrics.metrics.registry()
        return Figures.decode(read(registry, [(self.spec, self.statistics)]).encode())


def value(figures: Figures, sample: str, **labels: str) -> float | None:
    return next(
        (
            value
            for (_, name, those), value in figures.samples.items()
            if name == sample and labels.items() <= dict(those).items()
        ),
        None,
    )


def requests(figures: Figures, status: str = "OK") -> float | None:
    return value(figures, "dodona_requests_total", status=status)


def test_counters_and_histograms_add_up_and_shared_things_do_not():
    """Requests, buckets and loads are summed; replicas, which every process sees, are not."""
    total = added([Router(requests=3).figures(), Router(requests=4, failures=1).figures()])
    assert requests(total) == 7
    assert requests(total, "INTERNAL") == 1
    assert value(total, "dodona_request_seconds_count") == 7
    assert value(total, "dodona_request_seconds_bucket", le="+Inf") == 7
    assert value(total, "dodona_in_flight") == 7
    assert value(total, "dodona_replicas") == 2
    assert value(total, "python_info") == 1
    assert total.statistics[SPEC].succeeded == 7
    assert total.statistics[SPEC].failed == 1


def test_memory_is_summed_and_the_start_is_the_first():
    """The process's own figures are those of the whole."""
    one = Router().figures()
    total = added([one, one])
    for sample, times in (("process_resident_memory_bytes", 2), ("process_start_time_seconds", 1)):
        alone = value(one, sample)
        assert alone is not None
        assert value(total, sample) == times * alone


def test_what_a_dead_process_counted_stays():
    """Neither a counter nor a histogram goes backwards when a process starts over; gauges of the dead are gone."""
    buried = Buried()
    first, second = Router(requests=5, failures=2), Router(requests=3)
    before = buried.with_living([first.figures(), second.figures()])
    buried.bury(first.figures())
    alone = buried.with_living([second.figures()])
    after = buried.with_living([second.figures(), Router(requests=1).figures()])
    assert [requests(figures) for figures in (before, alone, after)] == [8, 8, 9]
    assert [requests(figures, "INTERNAL") for figures in (before, alone, after)] == [2, 2, 2]
    assert [figures.statistics[SPEC].succeeded for figures in (before, alone, after)] == [8, 8, 9]
    assert [value(figures, "dodona_request_seconds_count") for figures in (before, alone, after)] == [8, 8, 9]
    assert [value(figures, "dodona_in_flight") for figures in (before, alone, after)] == [8, 3, 4]


def test_deaths_in_a_row_add_up():
    """Each process buries what it counted itself, once."""
    buried = Buried()
    for _ in range(3):
        buried.bury(Router(requests=2).figures())
    assert requests(buried.with_living([Router(requests=1).figures()])) == 7


def test_versions_that_nobody_knows_are_forgotten():
    """Else versions that come and go would add up for ever; while nobody knows any version, nothing is forgotten."""
    buried = Buried()
    buried.bury(Router(requests=5, spec=OTHER).figures())
    starting = Router(requests=0).figures()
    starting.statistics.clear()
    assert value(buried.with_living([starting]), "dodona_requests_total", model="gone") == 5
    assert value(buried.with_living([Router().figures()]), "dodona_requests_total", model="gone") is None
    assert OTHER not in buried.with_living([Router().figures()]).statistics
    assert value(buried.with_living([Router(spec=OTHER).figures()]), "dodona_requests_total", model="gone") == 0


def test_they_are_written_as_prometheus_writes_them():
    """The sum of one process is, byte for byte, what that process would have said."""
    registry = Router(requests=2, failures=1).metrics.metrics.registry()

    class Fixed(Collector):
        def collect(self):
            return figures.metrics()

    figures = read(registry)
    written = CollectorRegistry()
    written.register(Fixed())

    def ours(text: bytes) -> list[bytes]:
        return sorted(line for line in text.splitlines() if b"dodona_" in line)

    assert ours(generate_latest(written)) == ours(generate_latest(registry))


def test_each_process_shows_its_share():
    """CPU time and connections, by number."""
    process = Router()
    process.metrics.connections.labels().set(3)
    total = Figures()
    idle = Router()
    idle.metrics.connections.labels().set(0)
    add_balance(total, {"0": process.figures(), "1": idle.figures()})
    assert value(total, "dodona_router_process_connections", process="0") == 3
    assert value(total, "dodona_router_process_connections", process="1") == 0
    assert value(total, "dodona_router_process_cpu_seconds_total", process="1") is not None
