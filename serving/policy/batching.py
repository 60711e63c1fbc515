"""Which waiting requests run next, together, and when.

The model: one runtime per model version runs one batch at a time. Whenever it is free it takes what waits, most urgent
first (priority, then deadline, then arrival), up to `max_batch_rows`; where requests name tenants, these take turns
first, and urgency orders what is inside a tenant (serving/policy/turns.py). Under load batches grow by themselves while
the runtime is busy, so waiting on purpose is off by default. With `max_wait_s` > 0 a batch that is not full waits, but
never longer than `max_wait_s` after its oldest request came, never so long that the expected run would end in the
second half of any member's time (its deadline's, or the SLO's where that is nearer), and not at all while other
requests wait that could not join it. Nor where the cost of runs says that waiting does not pay: to wait for the next
request, expected after `gap_s`, delays each of the n rows at hand by the gap and by one row's run, and saves the
newcomer one fixed cost less the gap; so it pays while `base > gap + n * (gap + per_row)`.

With an SLO a batch grows no larger than can be run in half of it, because a request may have to wait for one such run
before its own. Where even one row takes longer than that, size is not what breaks the SLO and batches grow freely.

A long run (more than PREFETCH_S, serving/policy/credit.py) is no larger than makes rows cheap: that costs a fortieth of
the rate at most. A crowd of callers who each ask again once answered falls into step else: all of them share one run,
and the runtime idles while all answers travel and all requests come back. Cut, the second run hides the way of the
first one's answers.

A run that several tenants share is smaller still (useful_batch_rows): it costs a twentieth of the rate at most, and
whoever comes next waits less.

Invariants: a run holds at most `max_batch_rows` rows, but for a single request (which was checked on arrival); only
requests of one group share a run (equal shapes beyond the rows; a request to be run alone has a group of its own);
the first in that order is always in the run, so nothing starves behind those that fit better; expired requests are
dropped before anything else. `decide` changes nothing: asked twice with the same snapshot it answers the same.

A run has a bound too (`patience_s`): past it the run counts as hung. It must be far above what runs take, because
giving up costs a process, and it cannot come from the callers' deadlines, because then impatient callers could make us
give up healthy runs. So it is a number of the model's, and 20 times what is expected where that is more.

What it does not do: choose `max_wait_s`, or trade one model's latency against another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import Final, Generic, TypeVar

from serving.policy.cost import RunCost
from serving.policy.credit import overlapping_batch_rows, useful_batch_rows
from serving.policy.turns import Turns
from serving.spec import DEFAULT_PRIORITY

"""Rank of a request that states none (0); 1 is the most urgent."""

_URGENCY: Final = attrgetter("urgency")
_HUNG_TIMES: Final = 20
"""So many times its expected seconds no run takes that will ever end."""


class Waiting:
    """A request as the policy sees it. Times are seconds of one clock; plain slots because one is made per request."""

    __slots__ = ("arrived", "deadline", "group", "rows", "tenant", "urgency", "weight")

    def __init__(
        self,
        *,
        seq: int,
        rows: int,
        deadline: float,
        arrived: float,
        priority: int = 0,
        group: object = None,
        tenant: str = "",
        weight: float = 1.0,
    ) -> None:
        self.rows = rows
        self.deadline = deadline
        self.arrived = arrived
        self.group = group
        self.tenant = tenant
        self.weight = weight
        self.urgency = (priority or DEFAULT_PRIORITY, deadline, seq)


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Limits:
    max_batch_rows: int
    max_wait_s: float = 0.0
    batched: bool = True
    """False: every request runs alone."""
    slo_s: float = inf
    """Seconds within which requests should be answered."""
    run_timeout_s: float = inf
    """Seconds of a run after which it counts as hung."""


def within_slo(limits: Limits, cost: RunCost) -> int:
    """Rows of the largest batch that the SLO allows."""
    if limits.slo_s == inf or not cost.seen:
        return limits.max_batch_rows
    rows = cost.rows_within(limits.slo_s / 2)
    return limits.max_batch_rows if rows < 1 else int(min(rows, limits.max_batch_rows))


def patience_s(rows: int, limits: Limits, cost: RunCost) -> float:
    """Seconds after which a run of so many rows counts as hung."""
    return max(limits.run_timeout_s, _HUNG_TIMES * cost.expected_s(rows))


def waiting_pays(rows: int, gap_s: float, cost: RunCost) -> bool:
    """Whether to wait for one more request, expected after `gap_s`, is cheaper than to run these rows alone."""
    return cost.base_s > gap_s + rows * (gap_s + cost.per_row_s)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[W]):
    waiting: Sequence[W]
    """In any order."""
    busy: bool = False
    """Whether a batch is running."""
    cost: RunCost | None = None
    """What runs take; None = nothing is known, and waiting is taken to pay."""
    gap_s: float = 0.0
    """Expected seconds between two requests."""
    turns: Turns | None = None
    """What tenants had lately; None = no request names one."""


@dataclass(frozen=True, slots=True)
class Run(Generic[W]):
    """Run these together, now."""

    batch: list[W]


@dataclass(frozen=True, slots=True)
class Drop(Generic[W]):
    """Their deadline has passed: take them out, then ask again."""

    expired: list[W]


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Ask again at this time, or when something changes."""

    at: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Ask again when something changes."""


IDLE: Final = Idle()


def decide(snapshot: Snapshot[W], limits: Limits, now: float) -> Run[W] | Drop[W] | WaitUntil | Idle:
    expired = [entry for entry in snapshot.waiting if entry.deadline <= now]
    if expired:
        return Drop(expired)
    if snapshot.busy or not snapshot.waiting:
        return IDLE
    cost = snapshot.cost
    allowed_rows = within_slo(limits, cost) if cost is not None else limits.max_batch_rows
    most_rows = overlapping_batch_rows(allowed_rows, cost) if cost is not None else allowed_rows
    ordered: Sequence[W] = sorted(snapshot.waiting, key=_URGENCY)
    if snapshot.turns is not None:
        ordered = snapshot.turns.order(ordered)
        if cost is not None and snapshot.turns.several(ordered):
            most_rows = useful_batch_rows(allowed_rows, cost)
    batch = _first_of(ordered, limits.batched, most_rows)
    if limits.max_wait_s > 0 and len(batch) == len(snapshot.waiting):
        at = _latest_start(batch, limits, snapshot, most_rows)
        if at > now:
            return WaitUntil(at)
    return Run(batch)


def _first_of(ordered: Sequence[W], batched: bool, most_rows: int) -> list[W]:
    first = ordered[0]
    if not batched:
        return [first]
    batch = [first]
    free = most_rows - first.rows
    group = first.group
    for entry in ordered[1:]:
        if entry.rows <= free and entry.group == group:
            batch.append(entry)
            free -= entry.rows
    return batch


def _latest_start(batch: Sequence[W], limits: Limits, snapshot: Snapshot[W], most_rows: int) -> float:
    """When this batch should start at the latest; a time that has passed = at once."""
    rows = sum(entry.rows for entry in batch)
    if not limits.batched or rows >= most_rows:
        return 0.0
    cost = snapshot.cost
    if cost is not None and cost.seen and not waiting_pays(rows, snapshot.gap_s, cost):
        return 0.0
    # Half of each request's time is kept as a margin: the expected run is an average, and the answer has to travel.
    full_run_s = cost.expected_s(most_rows) if cost is not None else 0.0
    by_deadline = min(entry.arrived + min(entry.deadline - entry.arrived, limits.slo_s) / 2 for entry in batch)
    return min(by_deadline - full_run_s, min(entry.arrived for entry in batch) + limits.max_wait_s)
