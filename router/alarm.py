"""One timer of the event loop, moved to the earliest moment asked for."""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


CallAt = Callable[[float, Callable[[], None]], Timer]


class Alarm:
    """`call_at` is the event loop's. `ring` is called at the moment set, once; it sets the next."""

    __slots__ = ("_call_at", "_ring", "_timer", "at")

    def __init__(self, call_at: CallAt, ring: Callable[[], None]) -> None:
        self._call_at = call_at
        self._ring = ring
        # Kept here: what uvloop gives for a moment that has come already is no timer and does not know when.
        self.at = float("inf")
        self._timer: Timer | None = None

    def set(self, at: float | None) -> None:
        """Ring at `at`, unless an earlier moment is set already; None asks for nothing."""
        if at is None or at >= self.at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.at = at
        self._timer = self._call_at(at, self._due)

    def _due(self) -> None:
        self.cancel()
        self._ring()

    def cancel(self) -> None:
        """Not before the next `set`."""
        if self._timer is not None:
            self._timer.cancel()
        self.at = float("inf")
        self._timer = None
