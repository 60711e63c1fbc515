"""The replicas of one model version, the requests that wait for them, and its figures."""

from math import inf
from typing import TYPE_CHECKING, Final

from router.metrics import PoolMetrics, RouterMetrics
from router.policy import binding
from router.policy.admission import plausible_s
from router.policy.fair import FairQueue, Shares
from router.policy.replies import Replies
from router.policy.sharing import SharingTerms, agreed
from router.policy.standing import Changes
from router.served import Served
from router.sharing.content import Sharing
from router.sharing.metrics import SharingFigures
from router.statistics import Statistics
from serving.policy.cost import RunCost
from serving.spec import ModelSpec

if TYPE_CHECKING:
    from router.replica import Replica
    from router.request import Inference


_PACE_WEIGHT: Final = 0.05
"""Of the newest batch in what a replica is taken to do: some twenty batches count."""


class Seat:
    """One replica's place for one version: its window and what is in it."""

    __slots__ = (
        "_finished_at",
        "handle",
        "pace",
        "pool",
        "replica",
        "requests",
        "rows_in_flight",
        "rows_of",
        "terms",
        "window_rows",
    )

    def __init__(self, pool: "Pool", replica: "Replica", handle: int, terms: SharingTerms | None = None) -> None:
        self.pool = pool
        self.terms = terms or SharingTerms()
        self.replica = replica
        self.handle = handle
        self.window_rows = 0
        self.rows_in_flight = 0
        self.rows_of: dict[str, int] = {}
        """Tenant -> its rows in flight; those without a name are the rest."""
        self.requests = 0
        self.pace = RunCost(_PACE_WEIGHT)
        """Rows and seconds of its batches, learned while requests wait."""
        self._finished_at = 0.0

    def add(self, tenant: str, rows: int) -> None:
        """More rows of a tenant with a name are in flight, or (negative) fewer."""
        self.pool.named_rows += rows
        left = self.rows_of.get(tenant, 0) + rows
        if left:
            self.rows_of[tenant] = left
        else:
            self.rows_of.pop(tenant, None)  # of no rows: it was never there

    @property
    def tenants(self) -> list[str]:
        """Of the rows in flight."""
        return [*self.rows_of, ""] if self.rows_by("") else list(self.rows_of)

    def rows_by(self, tenant: str) -> int:
        """Rows in flight of this tenant."""
        return self.rows_of.get(tenant, 0) if tenant else self.rows_in_flight - sum(self.rows_of.values())

    def finished(self, rows: int, now: float) -> None:
        """A batch came back. `now` is event-loop time, 0 where no request waits: then the time since the last batch
        tells how often work came, not how long it takes."""
        if now and self._finished_at:
            self.pace.observe(rows, plausible_s(self.pace, now - self._finished_at))
        self._finished_at = now

    def __repr__(self) -> str:
        return f"<{self.replica.name} {self.pool.spec} {self.rows_in_flight}/{self.window_rows}>"


class Pool:
    __slots__ = (
        "changes",
        "metrics",
        "named_rows",
        "queue",
        "seats",
        "served",
        "sharing",
        "sharing_figures",
        "spec",
        "standing_since",
        "statistics",
    )

    def __init__(self, spec: ModelSpec, metrics: RouterMetrics, shares: Shares | None = None) -> None:
        self.spec = spec
        self.served: Served | None = None
        self.seats: list[Seat] = []
        self.queue: FairQueue[Inference] = FairQueue(shares)
        self.standing_since = 0.0
        """When a request last found no room and nobody else waiting. Event-loop time."""
        self.changes = Changes()
        """Counted whenever a request might be admitted that was refused before."""
        self.named_rows = 0
        """Rows at workers whose tenants have names."""
        self.sharing: Sharing | None = None
        """Where its replicas agree that answers may be shared."""
        self.sharing_figures = SharingFigures()
        self.statistics = Statistics(self.sharing_figures)
        self.metrics = PoolMetrics(metrics, spec)
        labels = (spec.name, spec.version)
        metrics.pending.labels(*labels).source = lambda: self.pending
        metrics.in_flight.labels(*labels).source = lambda: self.in_flight
        metrics.replicas.labels(*labels).source = lambda: self.replicas

    @property
    def ready(self) -> bool:
        return bool(self.seats)

    @property
    def replicas(self) -> int:
        return len(self.seats)

    @property
    def pending(self) -> int:
        return len(self.queue)

    @property
    def in_flight(self) -> int:
        return sum(seat.requests for seat in self.seats)

    @property
    def rows_in_flight(self) -> int:
        """Rows at workers."""
        return sum([seat.rows_in_flight for seat in self.seats])

    def seat_for(self, rows: int) -> Seat | None:
        """The seat to bind a request of `rows` to now, or None."""
        seats = self.seats
        if len(seats) == 1:
            seat = seats[0]
            return seat if binding.has_room(seat.rows_in_flight, seat.window_rows, rows) else None
        index = binding.choose([(seat.rows_in_flight, seat.window_rows) for seat in seats], rows)
        return None if index is None else seats[index]

    def out_of_turn(self, inference: "Inference") -> Seat | None:
        """The seat beyond the window for a new request, which then does not stand behind those that wait."""
        if not inference.tenant and not self.named_rows:
            return None
        seat = None if self.queue.pending(inference.tenant) else self.seat_beside(inference)
        if seat is not None:
            self.queue.pass_by(inference.tenant, inference.rows)
        return seat

    def seat_beside(self, inference: "Inference") -> Seat | None:
        """Where no seat has room: the one that a tenant with less than its share may have beyond the window."""
        if not inference.tenant and not self.named_rows:
            return None
        queue, rows = self.queue, inference.rows
        tenant = queue.name(inference.tenant)
        best, best_load = None, inf
        for seat in self.seats:
            load = seat.rows_in_flight / max(1, seat.window_rows)
            if load < best_load:
                share = queue.share_among(tenant, seat.tenants)
                own_rows = seat.rows_by(tenant)
                if binding.has_room_beside(own_rows, seat.rows_in_flight, seat.window_rows, share, rows):
                    best, best_load = seat, load
        if best is not None:
            inference.tenant = tenant  # one too many is one of those without a name, at the worker too
        return best

    def replicas_changed(self, replies: Replies) -> None:
        """Whatever was shared is over: it may be the answer of a content that is no longer served."""
        if self.sharing is not None:
            self.sharing.close()
            self.sharing = None
        terms = agreed([seat.terms for seat in self.seats])
        if terms is not None:
            self.sharing = Sharing(terms, replies, self.sharing_figures)
            self.metrics.shares(self.sharing_figures)

    def __repr__(self) -> str:
        return f"<{self.spec} pending={self.pending} seats={self.seats}>"
