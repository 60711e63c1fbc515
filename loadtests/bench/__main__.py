"""Dodona and its rivals, side by side on this machine: `python -m loadtests.bench [--peers triton ...] [--json FILE]`.

One-row requests to the demo's trees from h2load. Servers are started in turn, each runs all cases and stops, and that
over several rounds; medians with ranges, ratios by round. CPU is that of a server's whole process tree, load generator
not counted. Every request is accounted for, and sampled answers must be right before and after: a rival that fails in
this is left out and the report says so; if Dodona fails, the bench exits 1.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from examples.progress import console, step
from loadtests.bench import machine, report
from loadtests.bench.contest import Case, Entrant, cases, round_of
from loadtests.bench.trial import Trial, prepared
from loadtests.h2load import command
from loadtests.peers import PEERS, dodona, running
from loadtests.peers.environment import NotInstalled, install, installed
from serving.errors import DodonaError

CACHE = Path(".cache/peers")


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
    made.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64], help="gRPC, one request on each")
    made.add_argument("--perf-analyzer", type=int, nargs="*", default=[], help="in flight from it too, as 1 8 32")
    made.add_argument("--only", default="", help="cases whose name contains this, for example REST")
    made.add_argument("--work", type=Path, default=Path(".dodona/bench"), help="folder for models and logs")
    made.add_argument("--json", type=Path, help="write all figures to this file")
    made.add_argument("--write", type=Path, help="put the report into this Markdown file, between its markers")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser()
    asked = options.parse_args(arguments)
    if not (1 <= asked.rounds <= 20 and 0.1 <= asked.seconds <= 60):
        options.error("--rounds or --seconds is out of range")
    chosen = [case for case in cases(asked.connections, asked.perf_analyzer) if asked.only in case.name]
    if not chosen:
        options.error(f"no case is named {asked.only!r}")
    words = sys.argv[1:] if arguments is None else arguments
    # Asked to end, it must still stop the servers that it has started, as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        command()
        return bench(asked, chosen, f"python -m loadtests.bench {shlex.join(words)}".strip())
    except (FileNotFoundError, NotInstalled, RuntimeError, DodonaError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1


def bench(asked: argparse.Namespace, chosen: Sequence[Case], line: str) -> int:
    """Raises RuntimeError if Dodona itself fails; a rival that fails is left out, and the report says why."""
    load_before = machine.load_average()
    with step("train and convert the model where it is not there yet"):
        trial = prepared(asked.form, asked.work, CACHE)
        floor_us = trial.floor_us()
    entrants = line_up(asked, trial)
    for number in range(asked.rounds):
        # Who comes first changes from round to round.
        turn = number % len(entrants)
        for entrant in (*entrants[turn:], *entrants[:turn]):
            if not entrant.failure:
                with step(f"round {number + 1} of {asked.rounds}: {entrant.name}") as note:
                    take_turn(entrant, number, chosen, trial, asked.seconds, note)
    found = report.Found(
        command=line,
        form=asked.form,
        front=asked.front,
        rounds=asked.rounds,
        seconds=asked.seconds,
        cases=[case.name for case in chosen],
        entrants=entrants,
        machine=machine.description(),
        floor_us=floor_us,
        load_average=(load_before, machine.load_average()),
    )
    report.show(found, console)
    if asked.json:
        report.write_json(found, asked.json)
    if asked.write:
        report.write_markdown(found, asked.write)
    return 0


def take_turn(
    entrant: Entrant, number: int, chosen: Sequence[Case], trial: Trial, seconds: float, note: Callable[[str], None]
) -> None:
    try:
        round_of(entrant, number, chosen, trial, seconds, note)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        if entrant.essential:
            raise
        entrant.failure = str(error)
        note(f"[red]given up: {escape(entrant.failure)}[/]")


def line_up(asked: argparse.Namespace, trial: Trial) -> list[Entrant]:
    """Dodona first, then the rivals asked for; one that cannot be installed is in it with the reason."""
    start = partial(dodona.started, trial.repository, asked.work, asked.front)
    entrants = [Entrant(dodona.NAME, dodona.TITLE, dodona.SETTINGS, dodona.Dodona.speaks, True, start)]
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
        entrant.start = partial(running.started, peer, environment, trial.model, trial.model_file, asked.work)
    return entrants


def wanted(asked: Sequence[str] | None) -> list[str]:
    """Names of rivals, in the order of the registry."""
    if asked is None:
        return [name for name, peer in PEERS.items() if installed(CACHE / name, peer.requirements)]
    return [name for name in PEERS if name in asked or "all" in asked]


if __name__ == "__main__":
    sys.exit(main())
