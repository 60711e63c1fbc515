"""Bytes that came and are not read yet, because enough was found in those before them."""

from collections import deque


class Unread:
    """In the order they came, with where to read on and when they came (seconds on the owner's clock)."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[tuple[bytes, int, float]] = deque()
        self.size = 0
        """Bytes."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, received: bytes, now: float) -> None:
        self._pieces.append((received, 0, now))
        self.size += len(received)

    def put_back(self, received: bytes, start: int, now: float) -> None:
        """The first again, which has been read up to `start`."""
        self._pieces.appendleft((received, start, now))
        self.size += len(received) - start

    def pop(self) -> tuple[bytes, int, float]:
        received, start, now = self._pieces.popleft()
        self.size -= len(received) - start
        return received, start, now

    def clear(self) -> None:
        self._pieces.clear()
        self.size = 0
