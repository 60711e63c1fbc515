"""The goals that the benchmark was set, each with what was found: a ratio in one round, median over the rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from loadtests.bench.contest import Entrant
from loadtests.bench.openloop import CAPACITY, OVERLOAD, SAME, Point
from loadtests.bench.pairs import Estimate
from loadtests.bench.trial import Floor
from loadtests.figures import Figures, Spread, ratio, spread

Of = Callable[[Figures], float]
T = TypeVar("T")
REFERENCE = "triton"


def _rate(figures: Figures) -> float:
    return figures.rate


def _cpu(figures: Figures) -> float:
    return figures.server_cpu_us


def _p50(figures: Figures) -> float:
    return figures.p50_ms


@dataclass(frozen=True)
class Goal:
    """`found`: None where it was not measured. `low`: small is good."""

    what: str
    bound: float
    hoped: float | None
    low: bool
    found: Spread | None

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        value = self.found.median
        if self.hoped is not None and self._reached(value, self.hoped):
            return "met, as hoped"
        return "met" if self._reached(value, self.bound) else "**missed**"

    def _reached(self, value: float, bound: float) -> bool:
        return value <= bound if self.low else value >= bound

    @property
    def cells(self) -> tuple[str, ...]:
        sign = "<=" if self.low else ">="
        return (
            self.what,
            f"{sign} {self.bound:g}x",
            f"{self.hoped:g}x" if self.hoped is not None else "",
            f"{self.found.words('.2f')}x" if self.found else "",
            self.verdict,
        )


HEADINGS = ("goal", "at least", "hoped for", "found", "")


def goals(
    entrants: list[Entrant],
    floors: Mapping[str, Mapping[int, Floor]],
    versus: tuple[str, Estimate] | None = None,
) -> list[Goal]:
    """`entrants`: Dodona first. `versus`: settings that the defaults were compared with, and the ratio of CPU."""
    ours = entrants[0]
    rivals = {entrant.name: entrant for entrant in entrants[1:]}

    def closed(case: str, of: Of, rival: str = REFERENCE) -> Spread | None:
        other = rivals.get(rival)
        if other is None or case not in ours.figures or case not in other.figures:
            return None
        return ratio(ours.figures[case], other.figures[case], of)

    made = []

    def goal(what: str, bound: float, hoped: float | None, found: Spread | None, *, low: bool) -> None:
        made.append(Goal(what, bound, hoped, low, found))

    case = "gRPC, 32 in flight"
    goal("gRPC, 32 connections: CPU per request against Triton", 0.65, 0.45, closed(case, _cpu), low=True)
    goal("gRPC, 32 connections: requests/s against Triton", 1.4, 2.0, closed(case, _rate), low=False)
    for count in (8, 32):
        case = f"perf_analyzer gRPC, {count} in flight"
        goal(f"perf_analyzer, {count} in flight: CPU against Triton", 0.5, 0.35, closed(case, _cpu), low=True)
        goal(f"perf_analyzer, {count} in flight: p50 against Triton", 0.7, 0.5, closed(case, _p50), low=True)
    case = "gRPC, 32 streams on one connection"
    goal("32 streams on one connection: requests/s against Triton", 1.0, 1.5, closed(case, _rate), low=False)
    goal("32 streams on one connection: CPU against Triton", 0.65, 0.45, closed(case, _cpu), low=True)
    for form in ("binary", "JSON"):
        case = f"REST {form}, 32 in flight"
        goal(f"REST {form}, 32 in flight: CPU against Triton", 0.8, 0.5, closed(case, _cpu), low=True)
    goal("gRPC, 1 in flight: requests/s against Triton", 1.4, 2.0, closed("gRPC, 1 in flight", _rate), low=False)
    case = "REST binary, 1 in flight"
    goal("REST binary, 1 in flight: requests/s against Triton", 1.1, 2.0, closed(case, _rate), low=False)
    for rival, title, bound in (("mlserver", "MLServer", 7.0), ("kserve", "KServe", 7.0)):
        found = closed("gRPC, 32 in flight", _rate, rival)
        goal(f"gRPC, 32 in flight: requests/s against {title}", bound, None, found, low=False)
    what = "gRPC, 32 in flight: requests/s against Ray Serve (REST JSON, it has no such gRPC)"
    goal(what, 50.0, None, _across(ours, rivals.get("ray")), low=False)
    for form in ("gRPC", "REST binary"):
        case = f"602 KB: {form}, 8 in flight"
        goal(f"602 KB, {form}, 8 in flight: requests/s against Triton", 1.0, 2.0, closed(case, _rate), low=False)
    what = "compute-heavy model: best requests/s against ONNX Runtime in process at its best batch"
    goal(what, 0.95, None, against_floor(ours, floors.get("dense", {})), low=False)
    for workload in ("trees", "dense"):
        found = _points(ours, rivals.get(REFERENCE), workload)
        what = f"open loop, {workload}, 60 % of Triton's capacity: p99 against Triton"
        goal(what, 0.8, None, found, low=True)
    for workload in ("trees", "dense"):
        what = f"{workload}: goodput within the deadline at 2x capacity, of the capacity"
        goal(what, 0.95, None, goodput(ours.points.get(workload, {})), low=False)
    if versus is not None:
        words, paired = versus
        goal(f"CPU of the defaults to that with {words}", 1.03, 1.01, Spread(*_interval(paired)), low=True)
    memory = rivals[REFERENCE].memory if REFERENCE in rivals else []
    what = "memory (PSS) of router and worker against Triton"
    goal(what, 1.5, 1.0, _by_position(ours.memory, memory), low=True)
    return made


def _interval(paired: Estimate) -> tuple[float, float, float]:
    return paired.median, paired.low, paired.high


def goodput(points: Mapping[str, Mapping[int, Point]]) -> Spread | None:
    """At twice the capacity, as a share of the capacity of the same round."""
    full, twice = points.get(CAPACITY, {}), points.get(OVERLOAD, {})
    both = sorted(full.keys() & twice.keys())
    return spread([twice[number].goodput / full[number].rate for number in both]) if both else None


def against_floor(ours: Entrant, floors: Mapping[int, Floor]) -> Spread | None:
    """The best rate of all its gRPC cases against the floor's best, by round."""
    rates: dict[int, float] = {}
    for case, rounds in ours.figures.items():
        if case.startswith("dense: gRPC"):
            for number, figures in rounds.items():
                rates[number] = max(rates.get(number, 0.0), figures.rate)
    both = sorted(rates.keys() & floors.keys())
    return spread([rates[number] / floors[number].best_rate for number in both]) if both else None


def _across(ours: Entrant, other: Entrant | None) -> Spread | None:
    mine = ours.figures.get("gRPC, 32 in flight")
    theirs = other.figures.get("REST JSON, 32 in flight") if other else None
    return ratio(mine, theirs, _rate) if mine and theirs else None


def _points(ours: Entrant, other: Entrant | None, workload: str) -> Spread | None:
    mine = ours.points.get(workload, {}).get(SAME, {})
    theirs = other.points.get(workload, {}).get(SAME, {}) if other else {}
    both = sorted(mine.keys() & theirs.keys())
    return spread([mine[number].p99_ms / theirs[number].p99_ms for number in both]) if both else None


def _by_position(mine: list[int], theirs: list[int]) -> Spread | None:
    pairs = list(zip(mine, theirs, strict=False))
    return spread([one / other for one, other in pairs]) if pairs else None


def median_of(rounds: Mapping[int, T], of: Callable[[T], float]) -> float:
    return spread([of(each) for each in rounds.values()]).median
