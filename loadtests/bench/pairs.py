"""Two servers under the same load by turns, and the ratio of their CPU per request with its uncertainty.

Both are up all the time; slices of load go A B B A A B ..., so that a machine that gets slower or busier harms both
alike, and each pair of neighbours gives one ratio. The median of the ratios is what is told, with a 95 % interval from
resampling (Efron's bootstrap, with a seed). A slow process start or an unlucky memory layout stays with a process, so
differences of a few per cent want several starts.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from loadtests.bench.generator import Job, Result, generate
from loadtests.bench.wire import Message

IN_FLIGHT, CONNECTIONS = 64, 4
"""Of gRPC: few connections with much on each, as what a wake-up brings then depends least on the machine's other
users."""
REST_IN_FLIGHT = 32
RESAMPLES = 2_000


@dataclass(frozen=True)
class Side:
    """`cpu_s`: of the server's whole process tree so far."""

    name: str
    message: Message
    cpu_s: Callable[[], float]


@dataclass(frozen=True)
class Estimate:
    """A ratio with the interval in which it lies in 95 of 100 cases."""

    median: float
    low: float
    high: float
    pairs: int

    @property
    def words(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f}-{self.high:.3f}, {self.pairs} pairs)"


def cpu_us(side: Side, seconds: float, load: Callable[[Job], Result] = generate) -> float:
    """CPU microseconds a request in one slice. Raises RuntimeError if a request is not answered well."""
    connections, in_flight = (REST_IN_FLIGHT,) * 2 if side.message.http1 else (CONNECTIONS, IN_FLIGHT)
    job = Job(side.message, connections, seconds, in_flight=in_flight, warm_up_s=0.0)
    before = side.cpu_s()
    result = load(job)
    spent = side.cpu_s() - before
    if result.refused or not result.sent:
        raise RuntimeError(f"{side.name}: {result.refused} of {result.sent} requests are not answered well")
    return spent / result.sent * 1e6


def ratios(one: Side, other: Side, pairs: int, measure: Callable[[Side], float]) -> list[float]:
    """Of `one` to `other`, a pair of neighbouring slices each."""
    found = []
    for number in range(pairs):
        first, second = (one, other) if number % 2 == 0 else (other, one)
        figures = {first.name: measure(first), second.name: measure(second)}
        found.append(figures[one.name] / figures[other.name])
    return found


def estimate(found: Sequence[float], seed: int = 1) -> Estimate:
    random = Random(seed)
    medians = sorted(statistics.median(random.choices(found, k=len(found))) for _ in range(RESAMPLES))
    return Estimate(
        statistics.median(found), medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)], len(found)
    )
