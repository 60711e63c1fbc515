"""Speed of a whole cluster on this machine: `python -m loadtests.bench [--front http2] [--json FILE]`.

One-row requests to the demo's XGBoost model from h2load, all cases in turn, several rounds, medians. CPU is that of the
router's and the worker's processes, load generator not counted. Every request is accounted for: h2load's count must
equal what the router says it answered, and sampled answers must be right before and after. Exits 1 if they are not.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from examples.progress import console, step
from loadtests.bodies import grpc_load, rest_load
from loadtests.h2load import Load, command, run
from loadtests.subject import Answers, Subject, subject

CASE_TIMEOUT_S = 120.0
WARM_UP_REQUESTS = 500


@dataclass(frozen=True)
class Case:
    name: str
    load: Callable[[Subject], Load]
    slow: bool = False
    """One in flight: fewer requests, else it takes long."""


@dataclass(frozen=True)
class Figures:
    """Of one case in one round, or the median of several. CPU in us a request, by process in `cpu_us`."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    cpu_us: dict[str, float]


def cases(connections: Sequence[int]) -> list[Case]:
    def over_grpc(count: int, streams: int) -> Callable[[Subject], Load]:
        return lambda under: grpc_load(
            under.cluster.grpc_address, under.model, under.rows[0].tolist(), connections=count, streams=streams
        )

    def over_rest(count: int) -> Callable[[Subject], Load]:
        return lambda under: rest_load(
            under.cluster.http_address, under.model, under.rows[0].tolist(), connections=count
        )

    return [
        *(Case(f"gRPC, {count} in flight", over_grpc(count, 1), slow=count == 1) for count in connections),
        Case("gRPC, 32 streams on one connection", over_grpc(1, 32)),
        *(Case(f"REST binary, {count} in flight", over_rest(count), slow=count == 1) for count in (1, 32)),
    ]


def measure(under: Subject, case: Case, requests: int) -> Figures:
    """Raises RuntimeError if a request was not answered rightly."""
    requests = requests // 5 if case.slow else requests
    load = case.load(under)
    run(load, WARM_UP_REQUESTS, timeout_s=CASE_TIMEOUT_S)
    good, bad = under.succeeded()
    before = under.usage().cpu_s
    outcome = run(load, requests, timeout_s=CASE_TIMEOUT_S)
    after = under.usage().cpu_s
    answered, failed = (now - then for now, then in zip(under.succeeded(), (good, bad), strict=True))
    if (outcome.succeeded, answered, failed) != (requests, requests, 0):
        raise RuntimeError(
            f"{case.name}: {requests} sent, h2load counts {outcome.succeeded} answered, the router {answered} right and"
            f" {failed} failed"
        )
    cpu_us = {name: (after[name] - before.get(name, 0.0)) / requests * 1e6 for name in after}
    return Figures(
        outcome.rate,
        outcome.quantile_s(0.5) * 1e3,
        outcome.quantile_s(0.99) * 1e3,
        sum(cpu_us.values()),
        cpu_us,
    )


def median(rounds: Sequence[Figures]) -> Figures:
    def middle(of: Callable[[Figures], float]) -> float:
        return statistics.median(map(of, rounds))

    names = rounds[0].cpu_us
    return Figures(
        middle(lambda f: f.rate),
        middle(lambda f: f.p50_ms),
        middle(lambda f: f.p99_ms),
        middle(lambda f: f.server_cpu_us),
        {name: statistics.median(figures.cpu_us.get(name, 0.0) for figures in rounds) for name in names},
    )


def table(results: dict[str, Figures], front: str) -> Table:
    shown = Table(title=f"one-row requests, front {front}, {os.cpu_count()} cores, medians", title_justify="left")
    shown.add_column("case")
    for name in ("requests/s", "p50 ms", "p99 ms", "server CPU us", "by process"):
        shown.add_column(name, justify="right")
    for name, figures in results.items():
        shares = ", ".join(f"{process} {us:.0f}" for process, us in sorted(figures.cpu_us.items()) if us >= 0.5)
        shown.add_row(
            name,
            f"{figures.rate:,.0f}",
            f"{figures.p50_ms:.3f}",
            f"{figures.p99_ms:.3f}",
            f"{figures.server_cpu_us:.0f}",
            shares,
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--front", choices=("http2", "grpcio"), default="http2", help="the router's gRPC server")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of every case (1 to 20)")
    parser.add_argument("--requests", type=int, default=30_000, help="a case and round (1,000 to 1,000,000)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64], help="gRPC, one request on each")
    parser.add_argument("--only", default="", help="cases whose name contains this, for example REST")
    parser.add_argument("--work", type=Path, default=Path(".dodona/bench"), help="folder for models and logs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args(arguments)
    if not (1 <= asked.rounds <= 20 and 1_000 <= asked.requests <= 1_000_000):
        parser.error("--rounds or --requests is out of range")
    if not any(asked.only in case.name for case in cases(asked.connections)):
        parser.error(f"no case is named {asked.only!r}")
    try:
        command()
        return bench(asked)
    except (FileNotFoundError, RuntimeError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1


def bench(asked: argparse.Namespace) -> int:
    """Raises RuntimeError for what makes the figures worthless."""
    rounds: dict[str, list[Figures]] = {}
    chosen = [case for case in cases(asked.connections) if asked.only in case.name]
    with ExitStack() as stack:
        with step("train what is missing, start the cluster"):
            under = stack.enter_context(subject(asked.work, asked.front))
        expected = under.expected()
        check(under, expected, "before")
        for number in range(asked.rounds):
            for case in chosen:
                with step(f"round {number + 1} of {asked.rounds}: {case.name}") as note:
                    figures = measure(under, case, asked.requests)
                    note(f"{figures.rate:,.0f} requests/s, {figures.server_cpu_us:.0f} us")
                rounds.setdefault(case.name, []).append(figures)
        check(under, expected, "after")
        rss = under.usage().rss
        results = {name: median(figures) for name, figures in rounds.items()}
        console.print(table(results, asked.front))
        memory = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sorted(rss.items()))
        console.print(f"cold start to all models ready: {under.ready_s:.2f} s; resident: {memory}", highlight=False)
        if asked.json:
            write_json(asked.json, results, asked, under.ready_s, rss)
    return 0


def check(under: Subject, expected: Answers, when: str) -> None:
    wrong = under.wrong_answers(expected)
    if wrong:
        raise RuntimeError(f"{wrong} of {len(expected)} answers are wrong {when} the load")


def write_json(
    path: Path, results: dict[str, Figures], asked: argparse.Namespace, ready_s: float, rss: dict[str, int]
) -> None:
    document = {
        "front": asked.front,
        "rounds": asked.rounds,
        "requests": asked.requests,
        "cores": os.cpu_count(),
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cold_start_s": ready_s,
        "rss_bytes": rss,
        "cases": {name: asdict(figures) for name, figures in results.items()},
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
