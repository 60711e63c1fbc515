"""Answers kept for identical requests: which stay, and which go when room is needed.

One bound in bytes for all models together, and one for each version. Room is made by taking out what was not asked for
longest (LRU), of the version itself at its own bound, of all versions at the common one.

While there is room, and answers of the version are asked for again, each new one is kept. Else it is let in only if its
request was turned away once before, lately (the doorkeeper of TinyLFU: Einziger, Friedman and Manes, 2017). So requests
that come once only, the bulk of most traffic, push out nothing, and where there are no others they soon cost no memory
and hardly any time. "Asked for again" is a trust: each hit raises it by TRUST_PER_HIT, each kept answer lowers it by
one, and a new version begins with TRUST, which is also the most.

Bytes are counted with all that an entry takes in memory: key, answer and the objects and tables around them
(ENTRY_BYTES, measured; a test compares the count with the process's resident memory).

Invariants: `bytes` never exceeds the bound; an answer is found only by a key equal in full; never after its time; never
after its shelf was cleared.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from math import inf
from typing import Final, Protocol

ENTRY_BYTES: Final = 400
"""Of one entry beside the bytes of request and answer."""
DOOR_PLACES: Final = 8192
"""Requests turned away that are remembered at most, in about 0.3 MB."""
TRUST: Final = 1024
"""Answers that are kept without proof that any is asked for again."""
TRUST_PER_HIT: Final = 16


class Doorkeeper:
    """Remembers what was turned away, each in the one place that its hash leads to: the next one there takes it."""

    __slots__ = ("_turned_away",)

    def __init__(self, places: int = DOOR_PLACES) -> None:
        self._turned_away = [0] * places

    def lets_in(self, mark: int) -> bool:
        """Whether it was turned away before, lately; from now on it was."""
        turned_away = self._turned_away
        place = mark % len(turned_away)
        if turned_away[place] == mark:
            turned_away[place] = 0
            return True
        turned_away[place] = mark
        return False


class Key(Hashable, Sized, Protocol):
    """`len` is what it keeps in memory, in bytes."""


Kept = tuple[bytes, float, int]
"""Answer, when its time is over, and the use at which it was asked for last. A tuple of plain values: the garbage
collector leaves it alone."""


class Shelf:
    """The answers of one version. `max_bytes` 0 = as much as all together may take; `ttl_s` 0 = no end."""

    __slots__ = ("_entries", "_replies", "_trust", "_ttl_s", "bytes", "evicted", "let_in", "max_bytes")

    def __init__(self, replies: "Replies", max_bytes: int, ttl_s: float) -> None:
        self._replies = replies
        self._entries: OrderedDict[Key, Kept] = OrderedDict()
        self._ttl_s = ttl_s or inf
        self._trust = TRUST
        self.max_bytes = min(max_bytes or replies.max_bytes, replies.max_bytes)
        self.bytes = 0
        self.evicted = 0
        """Answers taken out because room was needed."""
        self.let_in = 0
        """Answers kept because their requests had been turned away before."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, clock: Callable[[], float]) -> bytes | None:
        """`clock` is asked only where there is an answer whose time may be over."""
        kept = self._entries.get(key)
        if kept is None:
            return None
        response, expires_at, _ = kept
        if expires_at <= clock():
            self._take_out(key)
            return None
        replies = self._replies
        replies.clock += 1
        self._entries[key] = response, expires_at, replies.clock
        self._entries.move_to_end(key)
        self._trust = min(self._trust + TRUST_PER_HIT, TRUST)
        return response

    def put(self, key: Key, response: bytes, now: float) -> None:
        """Keep an answer, in the place of an earlier one to the same request."""
        size = len(key) + len(response) + ENTRY_BYTES
        replies = self._replies
        if not self._trust or self.bytes + size > self.max_bytes or replies.bytes + size > replies.max_bytes:
            if key not in self._entries:
                if not replies.door.lets_in(hash(key)):
                    return
                self.let_in += 1
        else:
            self._trust -= 1
        if key in self._entries:
            self._take_out(key)
        if size > self.max_bytes:
            return
        replies.clock += 1
        self._entries[key] = response, now + self._ttl_s, replies.clock
        self.bytes += size
        replies.bytes += size
        while self.bytes > self.max_bytes:
            self.evict()
        while replies.bytes > replies.max_bytes:
            replies.evict()

    def evict(self) -> None:
        """Take out what was not asked for longest."""
        self._take_out(next(iter(self._entries)))
        self.evicted += 1

    def oldest(self) -> float:
        """When the entry that goes next was last asked for; infinity if there is none."""
        return self._entries[next(iter(self._entries))][2] if self._entries else inf

    def clear(self) -> None:
        self._entries.clear()
        self._replies.bytes -= self.bytes
        self.bytes = 0

    def _take_out(self, key: Key) -> None:
        size = len(key) + len(self._entries.pop(key)[0]) + ENTRY_BYTES
        self.bytes -= size
        self._replies.bytes -= size


class Replies:
    """The answers of all models of a router. `clock` counts uses; time comes with each call, in seconds."""

    __slots__ = ("_shelves", "bytes", "clock", "door", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.clock = 0
        self.door = Doorkeeper()
        self._shelves: set[Shelf] = set()

    def shelf(self, max_bytes: int = 0, ttl_s: float = 0.0) -> Shelf:
        shelf = Shelf(self, max_bytes, ttl_s)
        self._shelves.add(shelf)
        return shelf

    def remove(self, shelf: Shelf) -> None:
        shelf.clear()
        self._shelves.discard(shelf)

    def evict(self) -> None:
        """Take out, of all versions, what was not asked for longest."""
        min(self._shelves, key=Shelf.oldest).evict()
