"""Requests of one version that wait for a replica, shared fairly between tenants.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each tenant that waits has a start tag, a point in virtual time;
the tenant with the smallest is served next, and its tag moves on by the rows served over its weight. Virtual time is
the tag of what was served last, and a tenant that begins to wait starts there, so that nobody saves up for later.
Inside a tenant the most urgent request goes first (router/policy/queue.py).

Invariants: work conserving (while anything waits, something is next); while two tenants both wait, the rows served to
them, over their weights, differ by at most one request of each (theorem 1 of the paper), so nobody starves; a queue of
one tenant is served exactly like a queue without tenants. Tenants are bounded: beyond `max_tenants` that wait at
once, the rest share one place, as those do that say no name.

A request that goes beyond a window (router/policy/binding.py) passes the queue by, and is charged like one that stood
in it.

What it does not do: charge what was served while nothing waits (while a replica is free there is nothing to share), or
order tenants by urgency: priority counts among a tenant's own requests only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from router.policy.queue import UrgencyQueue

T = TypeVar("T")
_MIX_WEIGHT: Final = 0.05
REST: Final = ""
"""The place of those without a name, and of those beyond the bound."""


@dataclass(frozen=True, slots=True)
class Shares:
    weights: Mapping[str, float] = field(default_factory=dict)
    """Tenant -> weight; others have 1."""
    max_tenants: int = 64


class _Tenant(Generic[T]):
    """`between`: rows of others served between two of its requests, lately; `size`: rows of such a request; `mark`:
    rows served to all when it was served last, or began to wait."""

    __slots__ = ("between", "mark", "queue", "size", "start", "weight")

    def __init__(self, weight: float) -> None:
        self.between = self.size = 0.0
        self.mark = 0
        self.weight = weight
        self.start = 0.0
        self.queue: UrgencyQueue[T] = UrgencyQueue()


class FairQueue(Generic[T]):
    __slots__ = ("_now", "_places", "_served", "_shares", "_tenants", "_weight")

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        self._tenants: dict[str, _Tenant[T]] = {}
        self._places: dict[T, tuple[_Tenant[T], int]] = {}
        self._now = 0.0
        self._served = 0
        self._weight = 0.0
        """Of all tenants that wait."""

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, entry: T) -> bool:
        return entry in self._places

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._places))

    @property
    def rows(self) -> int:
        """Of all that wait."""
        return sum([tenant.queue.rows for tenant in self._tenants.values()])

    def push(self, entry: T, *, tenant: str = REST, priority: int, due: float, rows: int = 1) -> None:
        place = self._tenants.get(tenant) or self._place(tenant)
        if not place.queue:
            place.start = max(place.start, self._now)
            place.mark = self._served
            self._weight += place.weight
        place.queue.push(entry, priority=priority, due=due, rows=rows)
        self._places[entry] = (place, rows)

    def peek(self) -> T | None:
        """The next entry, left where it is."""
        tenant = self._next()
        return None if tenant is None else tenant.queue.peek()

    def pop(self) -> T:
        """Raises IndexError if empty."""
        tenant = self._next()
        if tenant is None:
            raise IndexError("queue is empty")
        entry = tenant.queue.pop()
        _, rows = self._places.pop(entry)
        self._now = tenant.start
        self._charge(tenant, rows)
        self._left(tenant)
        return entry

    def pass_by(self, tenant: str, rows: int) -> None:
        """A request of a tenant that has none waiting is served at once, out of turn: it pays all the same."""
        if self._places:
            place = self._tenants.get(tenant) or self._place(tenant)
            place.start, place.mark = max(place.start, self._now), self._served
            self._charge(place, rows)

    def discard(self, entry: T) -> bool:
        """Take it out wherever it stands; False if it is not here."""
        place = self._places.pop(entry, None)
        if place is None:
            return False
        place[0].queue.discard(entry)
        self._left(place[0])
        return True

    def pending(self, tenant: str) -> int:
        """Requests of this tenant that wait."""
        place = self._tenants.get(self.name(tenant))
        return len(place.queue) if place is not None else 0

    def weight(self, tenant: str) -> float:
        return self._shares.weights.get(tenant, 1.0)

    def name(self, tenant: str) -> str:
        """The tenant, or REST where it would be one too many."""
        return tenant if tenant in self._tenants or self._has_room(tenant) else REST

    def share_among(self, tenant: str, others: Iterable[str]) -> float:
        """Its part, 0 to 1, among these and all that wait."""
        names = {tenant, *others, *[name for name, one in self._tenants.items() if one.queue]}
        return self.weight(tenant) / sum([self.weight(name) for name in names])

    def share(self, tenant: str) -> float:
        """Its part of the service if it waits too, 0 to 1."""
        place = self._tenants.get(self.name(tenant))
        if place is not None and place.queue:
            return place.weight / self._weight
        weight = self.weight(tenant)
        return weight / (self._weight + weight)

    def own_rows_ahead(self, tenant: str, *, priority: int, due: float) -> int:
        """Rows of this tenant that are served before a request of it pushed now."""
        place = self._tenants.get(self.name(tenant))
        return place.queue.rows_ahead(priority=priority, due=due) if place is not None else 0

    def rows_ahead(self, tenant: str, *, priority: int, due: float, at_replicas: int = 0) -> float:
        """Rows that are served before a request pushed now: its tenant's own (those `at_replicas` too), and of each
        other's what fair sharing lets through meanwhile, at most all that it has. Where others took more than that
        lately, because they come again and again, as much as they took."""
        place = self._tenants.get(self.name(tenant))
        own = at_replicas + self.own_rows_ahead(tenant, priority=priority, due=due)
        if len(self._tenants) == (place is not None):
            return own
        mixed = own * (1 + place.between / place.size) if place is not None and place.size else own
        weight = place.weight if place is not None else self.weight(tenant)
        others = [one for one in self._tenants.values() if one is not place]
        return max(mixed, own + sum([min(one.queue.rows, (own + 1) * one.weight / weight) for one in others]))

    def _next(self) -> _Tenant[T] | None:
        best: _Tenant[T] | None = None
        for tenant in self._tenants.values():
            if tenant.queue and (best is None or tenant.start < best.start):
                best = tenant
        return best

    def _charge(self, tenant: _Tenant[T], rows: int) -> None:
        tenant.start += rows / tenant.weight
        tenant.between += _MIX_WEIGHT * (self._served - tenant.mark - tenant.between)
        tenant.size += _MIX_WEIGHT * (rows - tenant.size)
        tenant.mark = self._served = self._served + rows

    def _has_room(self, tenant: str) -> bool:
        return len(self._tenants) < self._shares.max_tenants or tenant in self._shares.weights

    def _place(self, tenant: str) -> _Tenant[T]:
        for name in [name for name, one in self._tenants.items() if not one.queue and one.start <= self._now]:
            del self._tenants[name]
        name = self.name(tenant)
        place = self._tenants.get(name)
        if place is None:
            place = self._tenants[name] = _Tenant(self.weight(name))
        return place

    def _left(self, tenant: _Tenant[T]) -> None:
        """Something of this tenant has gone: it may wait no longer, and when nothing waits all begin anew."""
        if not self._places:
            self._tenants.clear()
            self._now = self._weight = 0.0
        elif not tenant.queue:
            self._weight -= tenant.weight
