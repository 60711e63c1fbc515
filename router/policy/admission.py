"""Whether a request that finds no free replica can still be answered in time: admit it, or say when to come back.

The model: while requests wait, every replica is busy, so the time between two of its results is what a batch takes,
with all that belongs to it. Each replica's batches are learned as means that fade exponentially (serving.policy.cost);
rows over seconds is its pace, and the sum of paces is the rate at which the queue drains. A request then takes

    (rows at replicas + rows ahead in the queue) / rate  +  one batch of its own  +  MARGIN deviations

where the deviation of k batches in a row is sqrt(k) times that of one; rows of other tenants that are expected to come
between count as independent arrivals (their deviation is their square root). A batch that takes much longer than the
others (a hiccup of the machine) is learned as OUTLIER means, else the margin for it would refuse what is in time after
all; a replica that has truly become slower is still followed. If this is later than the request is due (its deadline;
without one the SLO), it is refused, and may come back when the queue has shrunk by as much as it is too late. Refusing
what would be late anyway keeps goodput near capacity under overload: every second of the runtimes is then spent on
answers that somebody waits for (compare Zhou et al., "Overload control for scaling WeChat microservices", 2018, which
sheds by how long requests queue).

A queue that does not run empty for as long as a request may take is no burst, it is too much work. Then waiting for
nearly all of the time that one has gains nothing, for the replicas are as busy with a short queue as with a long one;
and it loses all where something that cannot be seen from here (the network, the sockets' buffers) takes the rest. So
while a queue stands, only STANDING_SHARE of the time may be spent waiting: the idea of CoDel (Nichols and Jacobson,
"Controlling queue delay", 2012), as Maurer's "Fail at scale" (2015) has it for servers.

Invariants: asked twice it answers the same; nothing is refused while no replica has shown at least LEAST_RUNS
batches under load; with a shorter queue or more time nobody is refused who was admitted before. It is asked only where
no replica has room, so whatever it says, replicas stay busy.

What it does not do: take back what was admitted when more urgent requests arrive later (those late then expire in the
queue, before they cost anything), or guess at a replica that has shown nothing yet: it counts as the mean of the
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Final

from serving.policy.cost import RunCost

LEAST_RUNS: Final = 4
MARGIN: Final = 2.0
"""Standard deviations; one answer in forty would be later."""

STANDING_SHARE: Final = 0.25
STANDING_RUNS: Final = 3.0
"""But at least so many batches: the one that runs, the next one, and one's own."""
SHORTEST_STANDING_S: Final = 0.1

OUTLIER: Final = 3.0


def plausible_s(pace: RunCost, took_s: float) -> float:
    """What to learn from a batch that took so long."""
    return min(took_s, OUTLIER * pace.mean_s) if pace.seen >= LEAST_RUNS else took_s


@dataclass(frozen=True, slots=True)
class Outlook:
    """When the answer to one more request is to be expected, seconds from now."""

    expected_s: float
    latest_s: float
    """With the margin."""
    run_s: float
    """One batch."""


def outlook(replicas: Sequence[RunCost], rows_ahead: float, rows: int = 1, guest_rows: float = 0.0) -> Outlook | None:
    """For a request of `rows`, behind `rows_ahead` at replicas and in the queue, of which `guest_rows` are expected of
    other tenants; None while too little was seen."""
    known = [replica for replica in replicas if replica.seen >= LEAST_RUNS and replica.mean_s > 0]
    if not known:
        return None
    rate = sum([replica.mean_rows / replica.mean_s for replica in known]) * len(replicas) / len(known)
    run_s = sum([replica.mean_s for replica in known]) / len(known)
    own_s = max(run_s, rows * len(replicas) / rate)
    ahead_s = rows_ahead / rate
    runs_s = max([replica.deviation_s for replica in known]) * sqrt(1 + ahead_s / run_s)
    deviation_s = hypot(runs_s, sqrt(guest_rows) / rate)
    return Outlook(ahead_s + own_s, ahead_s + own_s + MARGIN * deviation_s, run_s)


def patience_s(view: Outlook | None, allowed_s: float, standing_s: float) -> float:
    """How much of the time that it has a request may take, where the queue has not run empty for `standing_s`."""
    if view is None or standing_s <= max(allowed_s, SHORTEST_STANDING_S):
        return allowed_s
    return min(allowed_s, max(STANDING_SHARE * allowed_s, STANDING_RUNS * view.run_s))


def retry_after(view: Outlook | None, allowed_s: float) -> float:
    """0 to admit a request that has `allowed_s` left; else it is refused, and these are the seconds to stay away."""
    if view is None or view.latest_s <= allowed_s:
        return 0.0
    return max(view.run_s, view.latest_s - max(0.0, allowed_s))
