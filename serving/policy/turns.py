"""Whose requests a run takes first, where several tenants have some waiting at this worker.

Start-time fair queueing (Goyal, Vin and Cheng, 1996), as in the router (router/policy/fair.py): each tenant has a start
tag, a point in virtual time, that moves on by the rows run for it over its weight; rows go to the tenant with the
smallest tag, most urgent first inside it. Virtual time is the largest start tag that was run, and a tenant that begins
to wait starts there. So a lone request joins the next run, however many of another tenant came before it. A tenant that
had less than its share lately may lag behind virtual time by `burst_rows` (over its weight as all else), so that its
requests are not cut up where they come in bunches.

Invariants: nothing that waits is left out of the order; a worker with one tenant keeps the order of urgency; over any
stretch a tenant is at most `burst_rows` and one run ahead of its share; tenants are forgotten once they are
`_REMEMBERED_BURSTS` times that behind. `order` and `several` change nothing: asked twice they answer the same.

What it does not do: tell routers apart (a tenant is the same tenant, whichever router sent it), or bound what one
tenant may have here; the routers do.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Final, Protocol, TypeVar

_REMEMBERED_BURSTS: Final = 8
"""Of virtual time: who had nothing run for longer begins anew."""


class Share(Protocol):
    """A request as its tenant's part of a run."""

    rows: int
    tenant: str
    weight: float
    urgency: tuple[int, float, int]


S = TypeVar("S", bound=Share)


class Turns:
    __slots__ = ("_burst_rows", "_now", "_starts")

    def __init__(self, burst_rows: int) -> None:
        self._burst_rows = burst_rows
        self._now = 0.0
        self._starts: dict[str, float] = {}
        """Of tenants that had something run lately."""

    def several(self, waiting: Iterable[Share]) -> bool:
        """Whether more than one tenant waits or had something run lately."""
        return len({*self._starts, *[entry.tenant for entry in waiting]}) > 1

    def order(self, urgent_first: Sequence[S]) -> Sequence[S]:
        """The same requests, tenants taking turns."""
        queues: dict[str, list[S]] = {}
        for entry in urgent_first:
            queues.setdefault(entry.tenant, []).append(entry)
        if len(queues) < 2:
            return urgent_first
        heads = [(self._start(name), queue[0].urgency, name, 0) for name, queue in queues.items()]
        heapify(heads)
        ordered: list[S] = []
        while heads:
            start, _, name, index = heads[0]
            queue = queues[name]
            entry = queue[index]
            ordered.append(entry)
            if index + 1 < len(queue):
                heapreplace(heads, (start + entry.rows / entry.weight, queue[index + 1].urgency, name, index + 1))
            else:
                heappop(heads)
        return ordered

    def ran(self, batch: Iterable[Share]) -> None:
        """These run now: their tenants pay for them."""
        starts = {entry.tenant: self._start(entry.tenant) for entry in batch}
        for entry in batch:
            start = starts[entry.tenant]
            self._now = max(self._now, start)
            starts[entry.tenant] = start + entry.rows / entry.weight
        oldest = self._now - _REMEMBERED_BURSTS * self._burst_rows
        self._starts = {name: start for name, start in (self._starts | starts).items() if start > oldest}

    def _start(self, tenant: str) -> float:
        return max(self._starts.get(tenant, self._now), self._now - self._burst_rows)
