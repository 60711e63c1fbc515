"""Requests of one tenant that wait for a replica, most urgent first.

Order: priority (1 is the highest; a request without one ranks as 100), then when it is due, then arrival. Removal of a
cancelled request is lazy: its entry stays in the heap and is dropped when it surfaces, or when dead entries outnumber
the living; `len` counts the living only.

Rows are counted by priority and coarse slots of due times, so that "how many rows are ahead of this one" (admission
asks it for every request once the queue is too long) costs a sum over slots, and nothing where the request would be the
last, as it is when all callers allow the same time.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from serving.spec import DEFAULT_PRIORITY

_SLOT_S = 0.01

T = TypeVar("T")
Slot = tuple[int, int]


class UrgencyQueue(Generic[T]):
    __slots__ = ("_alive", "_heap", "_last", "_sequence", "_slots", "rows")

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, T]] = []
        self._alive: dict[T, tuple[int, Slot, int]] = {}
        self._slots: dict[Slot, int] = {}
        self._last: Slot = (0, 0)
        self._sequence = 0
        self.rows = 0
        """Of all that wait."""

    def __len__(self) -> int:
        return len(self._alive)

    def __contains__(self, entry: T) -> bool:
        return entry in self._alive

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._alive))

    def push(self, entry: T, *, priority: int, due: float, rows: int = 1) -> None:
        rank = priority or DEFAULT_PRIORITY
        slot = (rank, int(due / _SLOT_S))
        if not self._alive or slot > self._last:
            self._last = slot
        self._sequence += 1
        self._alive[entry] = (self._sequence, slot, rows)
        self._slots[slot] = self._slots.get(slot, 0) + rows
        self.rows += rows
        heappush(self._heap, (rank, due, self._sequence, entry))

    def rows_ahead(self, *, priority: int, due: float) -> int:
        """Rows that would be served before a request pushed now; those due within the same 10 ms count as ahead."""
        slot = (priority or DEFAULT_PRIORITY, int(due / _SLOT_S))
        if slot >= self._last:
            return self.rows
        return sum([rows for other, rows in self._slots.items() if other <= slot])

    def peek(self) -> T | None:
        """The most urgent entry, left where it is."""
        while self._heap:
            _, _, sequence, entry = self._heap[0]
            alive = self._alive.get(entry)
            if alive is not None and alive[0] == sequence:
                return entry
            heappop(self._heap)
        return None

    def pop(self) -> T:
        """Raises IndexError if empty."""
        entry = self.peek()
        if entry is None:
            raise IndexError("queue is empty")
        heappop(self._heap)
        self._forget(entry)
        return entry

    def discard(self, entry: T) -> bool:
        """Take it out wherever it stands; False if it is not here."""
        if entry not in self._alive:
            return False
        self._forget(entry)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._alive):
            alive = {sequence for sequence, _, _ in self._alive.values()}
            self._heap = [one for one in self._heap if one[2] in alive]
            heapify(self._heap)
        return True

    def _forget(self, entry: T) -> None:
        _, slot, rows = self._alive.pop(entry)
        self.rows -= rows
        left = self._slots[slot] - rows
        if left:
            self._slots[slot] = left
        else:
            del self._slots[slot]
