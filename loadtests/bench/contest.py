"""One server against one load, measured and accounted for; and the order in which servers and loads take turns."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from loadtests import perf_analyzer, processes
from loadtests.answers import ask
from loadtests.bench import openloop
from loadtests.bench.openloop import Point
from loadtests.bench.server import Server
from loadtests.bench.trial import Trial
from loadtests.bench.workloads import Case
from loadtests.figures import Figures
from loadtests.h2load import Outcome, run
from loadtests.peers.peer import Protocol

CASE_TIMEOUT_S = 180.0
ANALYSED_RATE = 5_000
"""Requests that perf_analyzer is given for each second asked for; it wants a number of them, not a time."""
FEWEST_REQUESTS, MOST_REQUESTS = 200, 1_000_000


@dataclass
class Entrant:
    """A server to be measured, and what has been found of it so far. `figures`: by case and round; `points`: by
    workload, stage and round. `failure`: why it was given up; `faults`: why single cases were, by their names.
    `essential`: without it the bench is worth nothing."""

    name: str
    title: str
    settings: str
    speaks: tuple[Protocol, ...] = ()
    essential: bool = False
    start: Callable[[Trial], AbstractContextManager[Server]] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[int, Figures]] = field(default_factory=dict)
    points: dict[str, dict[str, dict[int, Point]]] = field(default_factory=dict)
    ready_s: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    failure: str = ""
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What one start of a server is used for. `seconds`: of a case, `open_seconds`: of an open-loop stage, 0 for none;
    `reference`: requests a second of the stage that is the same for all."""

    trial: Trial
    cases: Sequence[Case]
    seconds: float
    open_seconds: float = 0.0
    reference: float | None = None
    sized: bool = True
    """Cold start and memory are taken down."""


def round_of(entrant: Entrant, number: int, plan: Plan, note: Callable[[str], None]) -> None:
    """Start, check, all cases in turn, the open loop, check, stop. Raises RuntimeError for what makes the round
    worthless; a rival's single case that fails is left out from then on."""
    if entrant.start is None:
        raise ValueError(f"{entrant.name} cannot be started: {entrant.failure}")
    trial = plan.trial
    with entrant.start(trial) as server:
        check(server, trial, "before")
        found = closed(entrant, server, plan, note)
        memory = processes.pss(server.pids)
        check(server, trial, "after")
        for name, figures in found.items():
            entrant.figures.setdefault(name, {})[number] = figures
        if plan.sized:
            entrant.ready_s.append(server.ready_s)
            entrant.memory.append(memory)
        fault = f"{trial.workload.name}: open loop"
        if not plan.open_seconds or fault in entrant.faults:
            return
        try:
            points = openloop.stages(server, trial, plan.open_seconds, plan.reference, note)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            if entrant.essential:
                raise
            entrant.faults[fault] = str(error)
            note(f"{fault}: failed")
            return
        for label, point in points.items():
            entrant.points.setdefault(trial.workload.name, {}).setdefault(label, {})[number] = point


def closed(entrant: Entrant, server: Server, plan: Plan, note: Callable[[str], None]) -> dict[str, Figures]:
    """By case, of those that the server takes."""
    found: dict[str, Figures] = {}
    for case in plan.cases:
        if case.protocol(server) is None or case.name in entrant.faults:
            continue
        try:
            figures = (analysed if case.analysed else measured)(server, case, plan.trial, plan.seconds)
        except perf_analyzer.Unending as error:
            note(f"{case.name}: left out of this round, {error}")
            continue
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            if entrant.essential:
                raise
            entrant.faults[case.name] = str(error)
            note(f"{case.name}: failed")
            continue
        note(f"{case.name}: {figures.rate:,.0f}/s, {figures.server_cpu_us:.0f} us")
        found[case.name] = figures
    return found


def check(server: Server, trial: Trial, when: str) -> None:
    """Every held-out row in every protocol that it speaks."""
    for protocol in server.speaks:
        loads = [server.load(protocol, row, 1) for row in trial.rows]
        wrong = trial.wrong(loads)
        if wrong:
            raise RuntimeError(
                f"{server.name}: {wrong} of {len(loads)} answers by {protocol} are wrong {when} the load"
            )


def analysed(server: Server, case: Case, trial: Trial, seconds: float) -> Figures:
    """perf_analyzer, which reads every answer's status itself. Raises RuntimeError if it finds an error, Unending."""
    binary = perf_analyzer.unpacked(perf_analyzer.CACHE)
    requests = max(FEWEST_REQUESTS, int(ANALYSED_RATE * seconds))
    counted, before = server.succeeded(), server.usage().cpu_s
    address, model = server.grpc_address, trial.model.name
    try:
        report = perf_analyzer.analyse(binary, "grpc", address, case.connections, requests, (), model)
    except perf_analyzer.Unending as error:
        done = (server.succeeded() or 0) - (counted or 0)
        raise perf_analyzer.Unending(f"{error}; {server.name} answered {done} of {requests}") from None
    after, counted_after = server.usage().cpu_s, server.succeeded()
    if counted is None or counted_after is None or counted_after - counted < requests:
        raise RuntimeError(f"{server.name}, {case.name}: {requests} asked for, {counted} before, {counted_after} after")
    found = perf_analyzer.parse(report)
    cpu_us = per_request(before, after, counted_after - counted)
    return Figures(found.rate, found.p50_ms, found.p99_ms, sum(cpu_us.values()), cpu_us)


def measured(server: Server, case: Case, trial: Trial, seconds: float) -> Figures:
    """h2load for about so many seconds. Raises RuntimeError if a request was not answered rightly."""
    protocol = case.protocol(server)
    if protocol is None:
        raise ValueError(f"{server.name} speaks none of {', '.join(case.protocols)}")
    load = server.load(protocol, trial.rows[0], case.connections, case.streams)
    size = ask(load).size
    callers = case.connections * case.streams  # each needs a request at least; of fewer than four the ends are too much
    warm = run(load, max(trial.workload.warm_up, callers), timeout_s=CASE_TIMEOUT_S)
    requests = min(MOST_REQUESTS, max(FEWEST_REQUESTS, 4 * callers, int(warm.rate * seconds)))
    counted, before = server.succeeded(), server.usage().cpu_s
    outcome = run(load, requests, timeout_s=CASE_TIMEOUT_S)
    after, counted_after = server.usage().cpu_s, server.succeeded()
    own = None if counted is None or counted_after is None else counted_after - counted
    fault = unaccounted(outcome, requests, None if server.answers_vary else size, own)
    if fault:
        raise RuntimeError(f"{server.name}, {case.name}: {fault}")
    cpu_us = per_request(before, after, requests)
    return Figures(
        outcome.rate, outcome.quantile_s(0.5) * 1e3, outcome.quantile_s(0.99) * 1e3, sum(cpu_us.values()), cpu_us
    )


def per_request(before: Mapping[str, float], after: Mapping[str, float], requests: int) -> dict[str, float]:
    """CPU microseconds by process, from CPU seconds so far."""
    return {name: (after[name] - before.get(name, 0.0)) / requests * 1e6 for name in after}


def unaccounted(outcome: Outcome, sent: int, answer_bytes: int | None, own_count: int | None) -> str:
    """What is wrong with a load, in words; empty if every request was answered rightly.

    h2load sees HTTP statuses only and takes a gRPC error for a success, but an error has no message: `answer_bytes`,
    the size of one right answer (None where it varies), times the requests must be what it received. `own_count`: by
    how much the server's own count of successes has grown (None where it keeps none).
    """
    if outcome.succeeded != sent:
        return f"{sent} sent, {outcome.succeeded} answered"
    if answer_bytes is not None and outcome.data_bytes != sent * answer_bytes:
        return (
            f"{sent} right answers have {sent * answer_bytes} bytes, these have {outcome.data_bytes}: some were errors"
        )
    if own_count is not None and own_count != sent:
        return f"{sent} sent, but the server counts {own_count} successes"
    return ""
