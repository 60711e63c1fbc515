"""What the bench found, in three forms from the same rows: a table on the terminal, Markdown for the docs, JSON."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtests.bench.contest import Entrant
from loadtests.figures import Spread, over, ratio, shares, spread
from loadtests.peers import dodona
from loadtests.peers.peer import Protocol

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
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
SPEECH: dict[Protocol, str] = {
    "grpc": "gRPC",
    "binary": "REST binary",
    "json": "REST JSON",
    "instances": "REST JSON of its own",
}
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Found:
    """All that a run has to tell. `entrants`: Dodona first. `load_average`: before and after. `floor_us`: CPU of the
    model alone, a row."""

    command: str
    form: str
    front: str
    rounds: int
    seconds: float
    cases: Sequence[str]
    entrants: Sequence[Entrant]
    machine: dict[str, str]
    load_average: tuple[float, float]
    floor_us: Spread

    @property
    def floor(self) -> str:
        return f"the model alone, in process and without a server, takes {self.floor_us.words('.1f')} us of CPU a row"

    @property
    def title(self) -> str:
        repeated = (
            f"{self.rounds} rounds of {self.seconds:g} s a case" if self.rounds > 1 else f"{self.seconds:g} s a case"
        )
        return f"one-row requests, trees in {self.form}, front {self.front}, {repeated}: median (lowest-highest)"


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


def show(found: Found, console: Console) -> None:
    for title, headings, rows in (
        (found.title, HEADINGS, case_rows(found)),
        ("servers", SERVER_HEADINGS, server_rows(found)),
    ):
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
    console.print(f"floor: {found.floor}", highlight=False)
    console.print(f"load average before and after: {found.load_average[0]:.1f}, {found.load_average[1]:.1f}")


def markdown(found: Found) -> str:
    machine = ", ".join(f"{what} {words}" for what, words in found.machine.items())
    parts = [
        f"Taken on {time.strftime('%Y-%m-%d', time.gmtime())} by `{found.command}`: {found.title}.",
        f"Machine: {machine}; load average before and after {found.load_average[0]:.1f} and"
        f" {found.load_average[1]:.1f}.",
        f"The floor: {found.floor}.",
        _markdown_table(HEADINGS, case_rows(found)),
        _markdown_table(SERVER_HEADINGS, server_rows(found)),
    ]
    if failed := failures(found):
        parts.append("Not measured to the end:\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in failed))
    return "\n\n".join(parts) + "\n"


def _markdown_table(headings: Sequence[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def write_markdown(found: Found, path: Path) -> None:
    """Put the report between the markers of the file, or at its end with markers where it has none yet."""
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    section = f"{BEGIN}\n\n{markdown(found)}\n{END}"
    if BEGIN in text and END in text:
        text = text[: text.index(BEGIN)] + section + text[text.index(END) + len(END) :]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_json(found: Found, path: Path) -> None:
    document = {
        "command": found.command,
        "form": found.form,
        "front": found.front,
        "rounds": found.rounds,
        "seconds": found.seconds,
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": found.machine,
        "load_average": found.load_average,
        "floor_us": asdict(found.floor_us),
        "servers": {entrant.name: _server(entrant, found.entrants[0]) for entrant in found.entrants},
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _server(entrant: Entrant, ours: Entrant) -> dict[str, object]:
    cases = {}
    for name, rounds in entrant.figures.items():
        case: dict[str, object] = {
            "median": {
                "rate": over(rounds, lambda f: f.rate).median,
                "p50_ms": over(rounds, lambda f: f.p50_ms).median,
                "p99_ms": over(rounds, lambda f: f.p99_ms).median,
                "server_cpu_us": over(rounds, lambda f: f.server_cpu_us).median,
                "cpu_us": shares(rounds),
            },
            "rounds": {number: asdict(figures) for number, figures in rounds.items()},
        }
        if name in ours.figures and entrant.name != dodona.NAME:
            for what, found in (
                ("cpu_ratio", ratio(ours.figures[name], rounds, lambda f: f.server_cpu_us)),
                ("rate_ratio", ratio(ours.figures[name], rounds, lambda f: f.rate)),
            ):
                case[what] = asdict(found) if found else None
        cases[name] = case
    return {
        "versions": entrant.versions,
        "settings": entrant.settings,
        "failure": entrant.failure,
        "faults": entrant.faults,
        "cold_start_s": entrant.ready_s,
        "memory_bytes": entrant.memory,
        "cases": cases,
    }
