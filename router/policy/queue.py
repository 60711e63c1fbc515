"""Requests of one version that wait for a replica, most urgent first.

Order: priority (1 is the highest; a request without one ranks as 100), then deadline, then arrival. Removal of a
cancelled request is lazy: its entry stays in the heap and is dropped when it surfaces, or when dead entries outnumber
the living; `len` counts the living only.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from serving.spec import DEFAULT_PRIORITY

T = TypeVar("T")


class UrgencyQueue(Generic[T]):
    __slots__ = ("_alive", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, T]] = []
        self._alive: dict[T, int] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._alive)

    def __contains__(self, entry: T) -> bool:
        return entry in self._alive

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._alive))

    def push(self, entry: T, *, priority: int, deadline: float) -> None:
        self._sequence += 1
        self._alive[entry] = self._sequence
        heappush(self._heap, (priority or DEFAULT_PRIORITY, deadline, self._sequence, entry))

    def peek(self) -> T | None:
        """The most urgent entry, left where it is."""
        while self._heap:
            _, _, sequence, entry = self._heap[0]
            if self._alive.get(entry) == sequence:
                return entry
            heappop(self._heap)
        return None

    def pop(self) -> T:
        """Raises IndexError if empty."""
        entry = self.peek()
        if entry is None:
            raise IndexError("queue is empty")
        heappop(self._heap)
        del self._alive[entry]
        return entry

    def discard(self, entry: T) -> bool:
        """Take it out wherever it stands; False if it is not here."""
        if self._alive.pop(entry, None) is None:
            return False
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._alive):
            self._heap = [item for item in self._heap if self._alive.get(item[3]) == item[2]]
            heapify(self._heap)
        return True
