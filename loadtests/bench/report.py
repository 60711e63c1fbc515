"""What the bench found, as rows of tables, from which the terminal, the page and the JSON file are made."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from loadtests.bench import goals
from loadtests.bench.contest import Entrant
from loadtests.bench.openloop import CAPACITY, Point
from loadtests.bench.pairs import Estimate
from loadtests.bench.profile import Share
from loadtests.bench.trial import Floor
from loadtests.bench.workloads import WORKLOADS
from loadtests.figures import Figures, over, ratio, shares, spread
from loadtests.peers.peer import Protocol

HEADINGS = (
    "case",
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "CPU us a request",
    "by process",
    "Dodona's CPU to its",
    "Dodona's rate to its",
)
SERVER_HEADINGS = ("server", "speaks", "version", "cold start s", "memory MiB (PSS)", "set-up")
OPEN_HEADINGS = (
    "model",
    "server",
    "load",
    "offered/s",
    "in time/s",
    "refused/s",
    "p50 ms",
    "p99 ms",
    "CPU us a request",
    "generator late p99 ms, busy",
)
FLOOR_HEADINGS = ("floor", "CPU us", "rate/s", "Dodona beside it")
PROFILE_HEADINGS = ("part", "process", "share of CPU", "CPU us a request")
SPEECH: dict[Protocol, str] = {
    "grpc": "gRPC",
    "binary": "REST binary",
    "json": "REST JSON",
    "instances": "REST JSON of its own",
}
Rows = list[tuple[str, ...]]


@dataclass
class Found:
    """All that a run has to tell. `entrants`: Dodona first. `load_average`: before and after. `floors`: by workload and
    round; `envoy`: by the case whose floor it is, and round; `profile`: of Dodona, where it could be taken."""

    command: str
    form: str
    front: str
    rounds: int
    seconds: float
    open_seconds: float
    cases: Sequence[str]
    entrants: list[Entrant]
    machine: dict[str, str]
    load_average: tuple[float, float] = (0.0, 0.0)
    floors: dict[str, dict[int, Floor]] = field(default_factory=dict)
    envoy: Mapping[str, Mapping[int, Figures]] = field(default_factory=dict)
    profile: Sequence[Share] = ()
    versus: tuple[str, Estimate] | None = None
    """What the defaults were compared with, and their CPU per request to it."""
    minutes: float = 0.0
    taken: float = field(default_factory=time.time)

    @property
    def title(self) -> str:
        repeated = (
            f"{self.rounds} rounds of {self.seconds:g} s a case" if self.rounds > 1 else f"{self.seconds:g} s a case"
        )
        opened = f" and {self.open_seconds:g} s an open-loop stage" if self.open_seconds else ""
        return (
            f"one-row requests, trees in {self.form}, front {self.front}, {repeated}{opened}: median (lowest-highest)"
        )


def case_rows(found: Found) -> Rows:
    """A line for every case and server that took part in it."""
    rows: Rows = []
    ours = found.entrants[0]
    for case in found.cases:
        for entrant in found.entrants:
            rounds = entrant.figures.get(case)
            if not rounds:
                continue
            cpu = rate = None
            if entrant is not ours and case in ours.figures:
                cpu = ratio(ours.figures[case], rounds, lambda f: f.server_cpu_us)
                rate = ratio(ours.figures[case], rounds, lambda f: f.rate)
            parts = shares(rounds)
            rows.append(
                (
                    case,
                    entrant.title,
                    over(rounds, lambda f: f.rate).words(",.0f"),
                    over(rounds, lambda f: f.p50_ms).words(".2f"),
                    over(rounds, lambda f: f.p99_ms).words(".2f"),
                    over(rounds, lambda f: f.server_cpu_us).words(",.0f"),
                    ", ".join(f"{name} {us:.0f}" for name, us in parts.items()) if len(parts) > 1 else "",
                    f"{cpu.words('.2f')}x" if cpu else "",
                    f"{rate.words('.2f')}x" if rate else "",
                )
            )
    return rows


def server_rows(found: Found) -> Rows:
    return [
        (
            entrant.title,
            ", ".join(SPEECH[protocol] for protocol in entrant.speaks),
            " ".join(f"{name} {version}" for name, version in sorted(entrant.versions.items())),
            spread(entrant.ready_s).words(".2f"),
            spread([size / 2**20 for size in entrant.memory]).words(",.0f"),
            entrant.settings,
        )
        for entrant in found.entrants
        if entrant.ready_s
    ]


def failures(found: Found) -> list[str]:
    lines = []
    for entrant in found.entrants:
        if entrant.failure:
            lines.append(f"{entrant.title}: {entrant.failure}")
        lines += [f"{entrant.title}, {case}: {fault}" for case, fault in entrant.faults.items()]
    return lines


def open_rows(found: Found) -> Rows:
    """A line for every workload, server and stage of the open loop; the capacity first."""
    rows: Rows = []
    for workload in WORKLOADS:
        for entrant in found.entrants:
            for label, rounds in entrant.points.get(workload, {}).items():
                rows.append(
                    (
                        workload,
                        entrant.title,
                        "closed loop, 64 in flight" if label == CAPACITY else label,
                        "" if label == CAPACITY else _point(rounds, "offered", ",.0f"),
                        # Closed loop has no deadline, what is answered counts.
                        _point(rounds, "rate" if label == CAPACITY else "goodput", ",.0f"),
                        _point(rounds, "refused", ",.0f"),
                        _point(rounds, "p50_ms", ".2f"),
                        _point(rounds, "p99_ms", ".2f"),
                        _point(rounds, "server_cpu_us", ",.0f"),
                        f"{goals.median_of(rounds, lambda point: point.late_ms):.2f},"
                        f" {goals.median_of(rounds, lambda point: point.generator_busy):.0%}",
                    )
                )
    return rows


def _point(rounds: Mapping[int, Point], name: str, form: str) -> str:
    """Empty where no round has a number: nothing was answered."""
    values = [value for point in rounds.values() if not math.isnan(value := getattr(point, name))]
    return spread(values).words(form) if values else ""


def floor_rows(found: Found) -> Rows:
    """The model in process, and a bare Envoy, each with Dodona's figure for the same work."""
    ours = found.entrants[0].figures
    rows: Rows = []
    for workload, floors in found.floors.items():
        alone = spread([floor.cpu_us.median for floor in floors.values()])
        batches = spread([floor.best_batch for floor in floors.values()]).median
        best = spread([floor.best_rate for floor in floors.values()])
        case = _first(ours, *(f"{PREFIXES[workload]}gRPC, {count} in flight" for count in (32, 8)))
        beside = f"{over(ours[case], _cpu).words(',.0f')} us, {case}" if case else ""
        title = WORKLOADS[workload].title
        rows.append((f"{title}: ONNX Runtime in process, a row alone", alone.words(",.1f"), "", beside))
        share = goals.against_floor(found.entrants[0], floors) if workload == "dense" else None
        beside = f"{share.words('.2f')}x of it, gRPC" if share else ""
        rows.append((f"{title}: the same in batches of {batches:.0f}, its best", "", best.words(",.0f"), beside))
    for case, rounds in found.envoy.items():
        beside = f"{over(ours[case], _cpu).words(',.0f')} us, {case}" if case in ours else ""
        protocol = "HTTP/2" if case.startswith("gRPC") else "HTTP/1.1"
        rate = over(rounds, lambda f: f.rate).words(",.0f")
        rows.append((f"Envoy answering a fixed body, {protocol}", over(rounds, _cpu).words(",.0f"), rate, beside))
    return rows


PREFIXES = {"trees": "", "cnn": "CNN: ", "dense": "dense: ", "image": "602 KB: "}


def _cpu(figures: Figures) -> float:
    return figures.server_cpu_us


def _first(figures: Mapping[str, object], *names: str) -> str:
    return next((name for name in names if name in figures), "")


def goal_rows(found: Found) -> Rows:
    return [goal.cells for goal in goals.goals(found.entrants, found.floors, found.versus)]


def profile_rows(found: Found) -> Rows:
    return [(each.part, each.process, f"{each.share:.0%}", f"{each.cpu_us:.1f}") for each in found.profile]


def tables(found: Found) -> list[tuple[str, Sequence[str], Rows]]:
    """(title, headings, rows) of all that has rows."""
    made: list[tuple[str, Sequence[str], Rows]] = [
        ("Goals", goals.HEADINGS, goal_rows(found)),
        ("Closed loop", HEADINGS, case_rows(found)),
        ("Open loop", OPEN_HEADINGS, open_rows(found)),
        ("The floor", FLOOR_HEADINGS, floor_rows(found)),
        ("Where the CPU goes", PROFILE_HEADINGS, profile_rows(found)),
        ("Servers", SERVER_HEADINGS, server_rows(found)),
    ]
    return [each for each in made if each[2]]


def show(found: Found, console: Console) -> None:
    console.print(found.title, highlight=False)
    for title, headings, rows in tables(found):
        shown = Table(title=title, title_justify="left")
        for number, heading in enumerate(headings):
            left = number < 2 or heading in ("by process", "set-up", "speaks", "version")
            shown.add_column(heading, justify="left" if left else "right", overflow="fold")
        before = ""
        for row in rows:
            if headings is HEADINGS and before not in ("", row[0]):
                shown.add_section()
            shown.add_row("" if row[0] == before else row[0], *row[1:])
            before = row[0]
        console.print(shown)
    for line in failures(found):
        console.print(f"not measured to the end: {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{found.minutes:.0f} minutes; load average before and after: {found.load_average[0]:.1f},"
        f" {found.load_average[1]:.1f}",
        highlight=False,
    )
