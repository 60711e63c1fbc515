"""The open-loop stages of one started server: its capacity, then shares of it, then the same absolute rate for all.

Capacity is what the very same generator gets out of it closed-loop, so that 90 % is within reach of both. Each stage
has Poisson arrivals with a seed of its own, the same for every server. At twice the capacity every gRPC request says
its deadline (`grpc-timeout`), which a server may use or not; REST has no header for that which all would understand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtests.answers import ask
from loadtests.bench.generator import Job, Result, generate, quantile
from loadtests.bench.server import Server
from loadtests.bench.trial import Trial
from loadtests.bench.wire import Message
from loadtests.h2load import Load
from loadtests.peers.peer import Protocol

CAPACITY, SAME = "capacity", "same rate"
SHARES = {"30 %": 0.3, "60 %": 0.6, "90 %": 0.9, "200 %": 2.0}
OVERLOAD = "200 %"
REFERENCE_SHARE = 0.6
IN_FLIGHT = 64
WARM_UP_S = 0.5
PATIENCE_S = 5.0
"""Below the capacity: longer than anything should take."""
_CONNECTIONS = {"grpc": 16}
_REST_CONNECTIONS = 128
_PROTOCOLS: tuple[Protocol, ...] = ("grpc", "json", "instances")


@dataclass(frozen=True)
class Point:
    """One stage in one round. Rates a second: `offered`, answered well at all (`rate`) and within the deadline
    (`goodput`), refused, never answered (`unsent`). `late_ms`: the generator's own lateness, p99. CPU a request
    offered, of the server and of the generator; `generator_busy`: its share of one core."""

    offered: float
    rate: float
    goodput: float
    refused: float
    unsent: float
    p50_ms: float
    p99_ms: float
    late_ms: float
    server_cpu_us: float
    generator_cpu_us: float
    generator_busy: float


def stages(
    server: Server,
    trial: Trial,
    seconds: float,
    reference: float | None,
    note: Callable[[str], None],
    *,
    warm_up_s: float = WARM_UP_S,
) -> dict[str, Point]:
    """`reference`: requests a second of the stage that is the same for all, None where it is not known. Empty for a
    server that takes no request of this workload. Raises RuntimeError if the server breaks off."""
    protocol = next((each for each in _PROTOCOLS if each in server.speaks), None)
    deadline_s = trial.workload.deadline_s
    if protocol is None or deadline_s is None:
        return {}
    load = server.load(protocol, trial.rows[0], 1)
    size = None if server.answers_vary else ask(load).size
    connections = _CONNECTIONS.get(protocol, _REST_CONNECTIONS)
    message = message_of(load, size, None)
    closed = Job(message, min(connections, IN_FLIGHT), seconds + warm_up_s, in_flight=IN_FLIGHT, warm_up_s=warm_up_s)
    found = {CAPACITY: point(server, closed)}
    capacity = found[CAPACITY].rate
    if not capacity:
        raise RuntimeError(f"{server.name} answers nothing right with {IN_FLIGHT} in flight")
    rates = {label: share * capacity for label, share in SHARES.items()}
    if reference is not None:
        rates = {SAME: reference, **rates}
    for seed, (label, rate) in enumerate(rates.items(), 1):
        late = label == OVERLOAD
        job = Job(
            message_of(load, size, deadline_s) if late else message,
            connections,
            seconds + warm_up_s,
            rate,
            warm_up_s=warm_up_s,
            deadline_s=deadline_s if late else PATIENCE_S,
            seed=seed,
        )
        found[label] = point(server, job)
        made = found[label]
        note(
            f"{trial.workload.name} {label} of {capacity:,.0f}/s: p50 {made.p50_ms:.2f}, p99 {made.p99_ms:.2f} ms,"
            f" {made.goodput:,.0f}/s in time; generator {made.late_ms:.2f} ms late, {made.generator_busy:.0%} of a core"
        )
    return found


def point(server: Server, job: Job) -> Point:
    before = sum(server.usage().cpu_s.values())
    result = generate(job)
    cpu_s = sum(server.usage().cpu_s.values()) - before
    return point_of(result, cpu_s / max(result.sent, 1) * 1e6)


def point_of(result: Result, server_cpu_us: float) -> Point:
    return Point(
        offered=result.due / result.seconds,
        rate=result.rate,
        goodput=result.goodput,
        refused=result.refused / result.seconds,
        unsent=result.unsent / result.seconds,
        p50_ms=result.quantile_s(0.5) * 1e3,
        p99_ms=result.quantile_s(0.99) * 1e3,
        late_ms=quantile(result.late_s, 0.99) * 1e3,
        server_cpu_us=server_cpu_us,
        generator_cpu_us=result.cpu_us,
        generator_busy=result.busy,
    )


def message_of(load: Load, size: int | None, deadline_s: float | None) -> Message:
    """The very request that h2load repeats. `deadline_s` is said where the protocol has a header for it."""
    parts = urlsplit(load.url)
    headers = load.headers
    if deadline_s is not None and not load.http1:
        headers = (*headers, ("grpc-timeout", f"{deadline_s * 1e6:.0f}u"))
    return Message(parts.hostname or "", parts.port or 0, parts.path, headers, load.body, size, load.http1)
