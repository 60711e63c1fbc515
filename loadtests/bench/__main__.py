"""Dodona and its rivals, side by side on this machine: `python -m loadtests.bench [--peers triton ...] [--json FILE]`.

Four models, one row a request. Servers are started in turn, each runs all cases and stops, and that over several
rounds; medians with ranges, ratios by round. Closed loop by h2load (and perf_analyzer), open loop by generator.py. CPU
is that of a server's whole process tree, load generator not counted. Every request is accounted for, and sampled
answers must be right before and after: a rival that fails in this is left out and the report says so; if Dodona fails,
the bench exits 1.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.markup import escape

from examples.progress import console, step
from loadtests import perf_analyzer
from loadtests.bench import envoy, machine, pages, profile, report, versus
from loadtests.bench.contest import Entrant, Plan, round_of
from loadtests.bench.openloop import CAPACITY, REFERENCE_SHARE
from loadtests.bench.trial import prepared
from loadtests.bench.versus import settings_of
from loadtests.bench.workloads import WORKLOADS, Case, cases
from loadtests.h2load import command
from loadtests.peers import PEERS, dodona, running
from loadtests.peers.environment import NotInstalled, install, installed
from serving.errors import DodonaError

CACHE = Path(".cache/peers")
T = TypeVar("T")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtests.bench", description=(__doc__ or "").splitlines()[0])
    made.add_argument(
        "--peers",
        nargs="*",
        choices=(*PEERS, "all", "none"),
        help="rivals, installed where missing; all, none (default: those that are installed)",
    )
    made.add_argument("--form", choices=("onnx", "xgboost"), default="onnx", help="what the trees run in, everywhere")
    made.add_argument("--front", choices=("http2", "grpcio"), default="http2", help="our router's gRPC server")
    made.add_argument("--rounds", type=int, default=3, help="how often every server is started (1 to 20)")
    made.add_argument("--seconds", type=float, default=2.0, help="of load, a case and round (0.1 to 60)")
    made.add_argument(
        "--open-seconds", type=float, default=3.0, help="of load, an open-loop stage and round (0: no open loop; to 60)"
    )
    made.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="models to serve")
    made.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64], help="gRPC, one request on each")
    made.add_argument("--no-profile", action="store_true", help="leave out where Dodona's CPU goes (installs py-spy)")
    made.add_argument("--perf-analyzer", type=int, nargs="*", default=[], help="in flight from it too, as 1 8 32")
    made.add_argument("--only", default="", help="closed-loop cases whose name contains this, for example REST")
    made.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="also: CPU of the defaults to that with this setting, as router.x.y=false (see versus.py)",
    )
    made.add_argument("--no-envoy", action="store_true", help="leave out the bare Envoy of the floor (installs it)")
    made.add_argument("--work", type=Path, default=Path(".dodona/bench"), help="folder for models and logs")
    made.add_argument("--json", type=Path, help="write all figures to this file")
    made.add_argument("--write", type=Path, help="put the report into this Markdown file, between its markers")
    made.add_argument("--section", default="", help="name of the markers, where a page has reports of several runs")
    made.add_argument("--readme", type=Path, help="and its main figures into this one; with --write")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser()
    asked = options.parse_args(arguments)
    if not (1 <= asked.rounds <= 20 and 0.1 <= asked.seconds <= 60 and 0 <= asked.open_seconds <= 60):
        options.error("--rounds, --seconds or --open-seconds is out of range")
    chosen = {
        name: [
            case for case in cases(WORKLOADS[name], asked.connections, asked.perf_analyzer) if asked.only in case.name
        ]
        for name in asked.workloads
    }
    if asked.readme and not asked.write:
        options.error("--readme needs --write: its picture is the report's")
    if not any(chosen.values()) and not asked.open_seconds:
        options.error(f"no case is named {asked.only!r}")
    words = sys.argv[1:] if arguments is None else arguments
    # Asked to end, it must still stop the servers that it has started, as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        # What is missing is said before an hour has been spent on the rest.
        command()
        settings_of(asked.against)
        if asked.perf_analyzer:
            perf_analyzer.unpacked(perf_analyzer.CACHE)
        return bench(asked, chosen, f"python -m loadtests.bench {shlex.join(words)}".strip())
    except (FileNotFoundError, NotInstalled, RuntimeError, ValueError, DodonaError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1


def bench(asked: argparse.Namespace, chosen: Mapping[str, Sequence[Case]], line: str) -> int:
    """Raises RuntimeError if Dodona itself fails; a rival that fails is left out, and the report says why."""
    began, load_before = time.monotonic(), machine.load_average()
    with step("train, make and convert the models where they are not there yet"):
        trials = [prepared(WORKLOADS[name], asked.form, asked.work, CACHE) for name in chosen]
    entrants = line_up(asked)
    found = report.Found(
        command=line,
        form=asked.form,
        front=asked.front,
        rounds=asked.rounds,
        seconds=asked.seconds,
        open_seconds=asked.open_seconds,
        cases=[case.name for each in chosen.values() for case in each],
        entrants=entrants,
        machine=machine.description(),
    )
    if not asked.no_envoy:
        with step("a bare Envoy") as note:
            found.envoy = attempted(lambda: envoy.measured(CACHE, asked.work, trials[0], asked.seconds), note) or {}
    rounds_began, first_round_s = time.monotonic(), 0.0
    for number in range(asked.rounds):
        for trial in trials:
            with step(f"round {number + 1} of {asked.rounds}: {trial.workload.title}, in process") as note:
                floor = trial.floor()
                found.floors.setdefault(trial.workload.name, {})[number] = floor
                note(f"{floor.cpu_us.median:,.0f} us of CPU a row, best {floor.best_rate:,.0f}/s by {floor.best_batch}")
        # Who comes first changes from round to round. The last, a rival, begins: its capacity is the open loop's scale.
        turn = (number - 1) % len(entrants)
        for entrant in (*entrants[turn:], *entrants[:turn]):
            for position, trial in enumerate(trials):
                if entrant.failure:
                    break
                asked_of = Plan(
                    trial,
                    chosen[trial.workload.name],
                    asked.seconds,
                    asked.open_seconds,
                    reference(entrants, trial.workload.name),
                    sized=position == 0,
                )
                words = f"round {number + 1} of {asked.rounds}: {entrant.title}, {trial.workload.title}"
                with step(f"{words} ({progress(rounds_began, asked.rounds, first_round_s)})") as note:
                    take_turn(entrant, number, asked_of, note)
        first_round_s = first_round_s or time.monotonic() - rounds_began
    if asked.against:
        with step(f"the defaults against {' '.join(asked.against)}") as note:
            settings = settings_of(asked.against)
            paired = attempted(lambda: versus.compared(trials[0], asked.work, {}, settings), note)
            found.versus = (" ".join(asked.against), paired) if paired else None
    if not asked.no_profile:
        with step("a profile of Dodona under the trees") as note:
            found.profile = attempted(lambda: profile.taken(CACHE, asked.work, asked.front, trials[0]), note) or ()
    found.load_average = (load_before, machine.load_average())
    found.minutes = (time.monotonic() - began) / 60
    report.show(found, console)
    if asked.json:
        pages.write_json(found, asked.json)
    if asked.write:
        pages.write_markdown(found, asked.write, asked.section)
        if asked.readme:
            pages.write_readme(found, asked.readme, asked.write, asked.section)
    return 0


def progress(began: float, rounds: int, round_s: float) -> str:
    """`began`: of the first round; `round_s`: how long a round takes, 0 while it is not known."""
    elapsed_s = time.monotonic() - began
    left = f", about {max(0.0, rounds * round_s - elapsed_s) / 60:.0f} to go" if round_s else ""
    return f"minute {elapsed_s / 60:.0f}{left}"


def reference(entrants: Sequence[Entrant], workload: str) -> float | None:
    """The rate that is the same for all: a share of the first rival's capacity, from its first round; without rivals,
    none."""
    for entrant in entrants[1:]:
        if rounds := entrant.points.get(workload, {}).get(CAPACITY):
            return REFERENCE_SHARE * rounds[min(rounds)].rate
    return None


def take_turn(entrant: Entrant, number: int, plan: Plan, note: Callable[[str], None]) -> None:
    try:
        round_of(entrant, number, plan, note)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        if entrant.essential:
            raise
        entrant.failure = f"{plan.trial.workload.title}: {error}"
        note(f"[red]given up: {escape(entrant.failure)}[/]")


def attempted(measure: Callable[[], T], note: Callable[[str], None]) -> T | None:
    """What is worth having, but not worth a failure."""
    try:
        return measure()
    except (RuntimeError, OSError, NotInstalled, subprocess.SubprocessError) as error:
        note(f"[red]left out: {escape(str(error))}[/]")
        return None


def line_up(asked: argparse.Namespace) -> list[Entrant]:
    """Dodona first, then the rivals asked for; one that cannot be installed is in it with the reason."""
    ours = partial(dodona.started, work=asked.work, front=asked.front)
    entrants = [Entrant(dodona.NAME, dodona.TITLE, dodona.SETTINGS, dodona.Dodona.speaks, True, ours)]
    for name in wanted(asked.peers):
        peer = PEERS[name]
        entrant = Entrant(name, peer.title, peer.settings, peer.speaks)
        entrants.append(entrant)
        try:
            with step(f"environment of {peer.title}"):
                environment = install(CACHE / name, peer.requirements)
        except NotInstalled as error:
            entrant.failure = f"cannot be installed: {error}"
            continue
        entrant.versions = environment.versions(peer.requirements)
        entrant.start = partial(running.started, peer, environment, work=asked.work)
    return entrants


def wanted(asked: Sequence[str] | None) -> list[str]:
    """Names of rivals, in the order of the registry."""
    if asked is None:
        return [name for name, peer in PEERS.items() if installed(CACHE / name, peer.requirements)]
    return [name for name in PEERS if name in asked or "all" in asked]


if __name__ == "__main__":
    sys.exit(main())
