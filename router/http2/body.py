"""The bytes of a message that comes in parts, put where they stay as they come: one copy, while they are in the cache.

Room is made for at most four times what has come, so that a peer that announces much and sends little, or a byte at a
time, is given little; a message of four large parts is moved once, and a longer one by a third of it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LARGE_BYTES: Final = 64 * 1024
"""From here on a message is not copied once more to become `bytes`."""
_AHEAD: Final = 4
_NOTHING: Final = np.empty(0, np.uint8)


class Body:
    __slots__ = ("_have", "_memory", "_size", "_view")

    def __init__(self, size: int) -> None:
        """`size` is the whole message's."""
        self._size = size
        self._have = 0
        self._memory: NDArray[np.uint8] = _NOTHING
        self._view = _NOTHING.data

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self._size - self._have

    def add(self, part: memoryview) -> None:
        """The next part, at most what is missing."""
        have = self._have
        stop = self._have = have + len(part)
        if stop > len(self._view):
            self._grow(have, stop)
        self._view[have:stop] = part

    def add_rows(self, rows: NDArray[np.uint8]) -> None:
        """The next parts, of equal size, at most what is missing."""
        have = self._have
        stop = self._have = have + rows.size
        if stop > len(self._view):
            self._grow(have, stop)
        self._memory[have:stop].reshape(rows.shape)[...] = rows

    def _grow(self, have: int, needed: int) -> None:
        memory = np.empty(min(self._size, _AHEAD * needed), np.uint8)
        view = memory.data
        view[:have] = self._view[:have]
        self._memory, self._view = memory, view

    def whole(self, last: memoryview) -> bytes | memoryview:
        """The message, a view if it is large; `last` are all the bytes that were missing."""
        if not self._have:
            return bytes(last)
        self.add(last)
        return self._view.toreadonly() if self._size >= LARGE_BYTES else bytes(self._view)
