"""Figures of repeated measurements: medians with their ranges, and ratios of what was measured in the same round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Of one case in one round. CPU in us a request, by process in `cpu_us`."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    cpu_us: Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    def words(self, form: str) -> str:
        """`median (low-high)`, one number where there was one measurement."""
        if self.low == self.high:
            return format(self.median, form)
        return f"{self.median:{form}} ({self.low:{form}}-{self.high:{form}})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def over(rounds: Mapping[int, Figures], of: Callable[[Figures], float]) -> Spread:
    return spread([of(figures) for figures in rounds.values()])


def ratio(ours: Mapping[int, Figures], theirs: Mapping[int, Figures], of: Callable[[Figures], float]) -> Spread | None:
    """Ours divided by theirs, round by round, so that a slow minute of the machine falls on both; None where no round
    has both."""
    both = sorted(ours.keys() & theirs.keys())
    return spread([of(ours[number]) / of(theirs[number]) for number in both]) if both else None


def shares(rounds: Mapping[int, Figures]) -> dict[str, float]:
    """Median CPU us a request, by process."""
    names = {name for figures in rounds.values() for name in figures.cpu_us}
    return {
        name: statistics.median(figures.cpu_us.get(name, 0.0) for figures in rounds.values()) for name in sorted(names)
    }
