"""The replicas of one model version, the requests that wait for them, and its figures."""

from typing import TYPE_CHECKING, Final

from router.metrics import PoolMetrics, RouterMetrics
from router.policy import binding
from router.policy.admission import plausible_s
from router.policy.fair import FairQueue, Shares
from router.policy.replies import Replies
from router.policy.sharing import SharingTerms, agreed
from router.served import Served
from router.sharing import Sharing, SharingFigures
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
        self.requests = 0
        self.pace = RunCost(_PACE_WEIGHT)
        """Rows and seconds of its batches, learned while requests wait."""
        self._finished_at = 0.0

    def finished(self, rows: int, now: float) -> None:
        """A batch came back. `now` is event-loop time, 0 where no request waits: then the time since the last batch
        tells how often work came, not how long it takes."""
        if now and self._finished_at:
            self.pace.observe(rows, plausible_s(self.pace, now - self._finished_at))
        self._finished_at = now

    def __repr__(self) -> str:
        return f"<{self.replica.name} {self.pool.spec} {self.rows_in_flight}/{self.window_rows}>"


class Pool:
    __slots__ = ("metrics", "queue", "seats", "served", "sharing", "sharing_figures", "spec", "statistics")

    def __init__(self, spec: ModelSpec, metrics: RouterMetrics, shares: Shares | None = None) -> None:
        self.spec = spec
        self.served: Served | None = None
        self.seats: list[Seat] = []
        self.queue: FairQueue[Inference] = FairQueue(shares)
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
