"""The report written down: Markdown between the markers of a page, pictures beside it, and all figures as JSON."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from loadtests.bench.contest import Entrant
from loadtests.bench.goals import goals, median_of
from loadtests.bench.openloop import SAME
from loadtests.bench.pictures import TITLES, draw
from loadtests.bench.report import Found, Rows, failures, tables
from loadtests.figures import over, ratio, shares
from loadtests.peers import dodona

BEGIN, END = "<!-- bench{}: begin -->", "<!-- bench{}: end -->"
README_BEGIN, README_END = "<!-- how fast: begin -->", "<!-- how fast: end -->"
README_HEADINGS = (
    "server",
    "gRPC, 32 in flight: requests/s",
    "p99 ms",
    "CPU us a request",
    "REST JSON, 32: requests/s",
    "CPU us",
    "open loop at one rate: p99 ms",
)
NOTES = {
    "Goals": "Each a ratio of two figures of the same round, median (lowest-highest) over the rounds.",
    "Closed loop": "As many requests in flight as named, all the time; h2load, or NVIDIA's perf_analyzer where it says"
    " so. CPU is user and system time of the server's whole process tree.",
    "Open loop": "Poisson arrivals from a generator that counts latency from the intended send time; shares of each"
    " server's own capacity, and 60 % of Triton's for all (same rate). At 200 % what counts is what is answered within"
    " the deadline, 50 ms for the trees and 300 ms for the dense layers; p50 and p99 are of what is answered at all."
    " Servers and generator share the cores.",
    "The floor": "The least that the model and a network server cost on this machine.",
    "Where the CPU goes": "Samples of py-spy while 32 gRPC requests are in flight; a sample belongs to the innermost"
    " part of ours that is on the stack, with the system calls made from it. The event loop (epoll, reading sockets)"
    " has what is left of the process's CPU.",
}


def markdown(found: Found, pictures: Mapping[str, str] = MappingProxyType({})) -> str:
    """`pictures`: their titles, and paths as the page names them."""
    machine = ", ".join(f"{what} {words}" for what, words in found.machine.items())
    parts = [
        f"Taken on {time.strftime('%Y-%m-%d', time.gmtime(found.taken))} in {found.minutes:.0f} minutes by"
        f" `{found.command}`: {found.title}.",
        f"Machine: {machine}; load average before and after {found.load_average[0]:.1f} and"
        f" {found.load_average[1]:.1f}.",
        *(f"![{title}]({picture})" for title, picture in pictures.items()),
    ]
    for title, headings, rows in tables(found):
        parts += [f"### {title}", *([NOTES[title]] if title in NOTES else []), _markdown_table(headings, rows)]
    if failed := failures(found):
        parts.append("Not measured to the end:\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in failed))
    return "\n\n".join(parts) + "\n"


def _markdown_table(headings: Sequence[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def write_markdown(found: Found, page: Path, section: str = "") -> None:
    """Put the report between the markers of the page (at its end where it has none yet), its pictures into a folder
    named like the page. `section`: a page may have reports of several runs, each under a name of its own."""
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, picture in draw(found).items():
        file = f"{section}-{name}.svg" if section else f"{name}.svg"
        (folder / file).write_text(picture)
        pictures[TITLES[name]] = f"{folder.name}/{file}"
    marked, heading = (f" {section}", f"## {section.capitalize()}\n\n") if section else ("", "")
    between(page, BEGIN.format(marked), END.format(marked), heading + markdown(found, pictures))


def write_readme(found: Found, page: Path, report: Path, section: str = "") -> None:
    """The main figures and a picture of `report`'s, between markers of their own."""
    picture = report.with_suffix("") / (f"{section}-cpu.svg" if section else "cpu.svg")
    named = os.path.relpath(picture, page.parent)
    parts = [
        *([f"![{TITLES['cpu']}]({named})"] if picture.exists() else []),
        _markdown_table(README_HEADINGS, readme_rows(found)),
        f"One-row requests to 100 trees, medians of {found.rounds} rounds on {found.machine.get('cores', '?')} cores"
        " that the load generator shares; Dodona with its routing hop, the others without. All figures, floors and"
        f" goals: [benchmarks]({os.path.relpath(report, page.parent)}).",
    ]
    between(page, README_BEGIN, README_END, "\n\n".join(parts) + "\n")


def readme_rows(found: Found) -> Rows:
    """A line for every server that was measured; what it cannot do is empty."""
    rows = []
    for entrant in found.entrants:
        grpc, rest = entrant.figures.get("gRPC, 32 in flight"), entrant.figures.get("REST JSON, 32 in flight")
        same = entrant.points.get("trees", {}).get(SAME)
        if grpc or rest:
            rows.append(
                (
                    entrant.title,
                    f"{over(grpc, lambda f: f.rate).median:,.0f}" if grpc else "",
                    f"{over(grpc, lambda f: f.p99_ms).median:.1f}" if grpc else "",
                    f"{over(grpc, lambda f: f.server_cpu_us).median:,.0f}" if grpc else "",
                    f"{over(rest, lambda f: f.rate).median:,.0f}" if rest else "",
                    f"{over(rest, lambda f: f.server_cpu_us).median:,.0f}" if rest else "",
                    f"{median_of(same, lambda point: point.p99_ms):.1f}" if same else "",
                )
            )
    return rows


def between(page: Path, begin: str, end: str, words: str) -> None:
    """Replace what stands between two markers; both are put at the end of a page that has none."""
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    section = f"{begin}\n\n{words}\n{end}"
    if begin in text and end in text:
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) :]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)


def write_json(found: Found, path: Path) -> None:
    document = {
        "command": found.command,
        "form": found.form,
        "front": found.front,
        "rounds": found.rounds,
        "seconds": found.seconds,
        "open_seconds": found.open_seconds,
        "minutes": found.minutes,
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.taken)),
        "machine": found.machine,
        "load_average": found.load_average,
        "goals": [
            {**asdict(goal), "verdict": goal.verdict} for goal in goals(found.entrants, found.floors, found.versus)
        ],
        "floors": {
            name: {number: asdict(floor) for number, floor in each.items()} for name, each in found.floors.items()
        },
        "envoy": {
            name: {number: asdict(figures) for number, figures in each.items()} for name, each in found.envoy.items()
        },
        "profile": [asdict(share) for share in found.profile],
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
        "open_loop": {
            workload: {
                label: {number: asdict(point) for number, point in rounds.items()} for label, rounds in stages.items()
            }
            for workload, stages in entrant.points.items()
        },
    }
