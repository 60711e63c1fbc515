"""When to give up on what: deadlines sorted into coarse slots, so that adding and removing one costs a set operation.

A heap of deadlines would keep every answered request (and its message) alive until its deadline, 30 s by default; at
20,000 requests a second that is memory without bound. Slots forget at once. The price is precision: an entry expires
up to one `resolution_s` late, never early. (After hashed timing wheels: Varghese and Lauck, 1987.)
"""

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class DeadlineSlots(Generic[T]):
    __slots__ = ("_due", "_resolution_s", "_slots")

    def __init__(self, resolution_s: float = 0.005) -> None:
        self._resolution_s = resolution_s
        self._slots: dict[int, set[T]] = {}
        self._due: list[int] = []

    def add(self, entry: T, deadline: float) -> int:
        """Returns the slot, to be given back to `discard`."""
        slot = int(deadline / self._resolution_s) + 1
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = {entry}
            heappush(self._due, slot)
        else:
            entries.add(entry)
        return slot

    def discard(self, entry: T, slot: int) -> None:
        entries = self._slots.get(slot)
        if entries is not None:
            entries.discard(entry)
            if not entries:
                entries.clear()  # a set keeps the table it has grown: 60 s of slots were tens of megabytes

    def next_due(self) -> float | None:
        """When the next slot that still has entries is due; None if there is none."""
        while self._due:
            slot = self._due[0]
            if self._slots[slot]:
                return slot * self._resolution_s
            heappop(self._due)
            del self._slots[slot]
        return None

    def expire(self, now: float) -> list[T]:
        """Take out all whose slot is due."""
        expired: list[T] = []
        while self._due and self._due[0] * self._resolution_s <= now:
            expired.extend(self._slots.pop(heappop(self._due)))
        return expired
