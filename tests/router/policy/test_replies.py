"""Answers kept for identical requests stay within their bounds, and are found by equal requests only."""

from collections.abc import Callable
from math import inf
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.policy.replies import DOOR_PLACES, ENTRY_BYTES, TRUST, Doorkeeper, Replies, Shelf


def room_for(entries: int) -> Replies:
    """Of two bytes of request and answer each."""
    return Replies(entries * (ENTRY_BYTES + 2))


def put(shelf: Shelf, *keys: str, now: float = 0.0) -> None:
    for key in keys:
        shelf.put(key, key.encode(), now)


def found(shelf: Shelf, keys: str, now: float = 0.0) -> str:
    return "".join([answer.decode() for key in keys if (answer := shelf.get(key, lambda: now)) is not None])


def test_what_was_asked_for_longest_ago_goes() -> None:
    """Being asked for counts, being stored first does not; a newcomer knocks twice."""
    shelf = room_for(2).shelf()
    put(shelf, "a", "b")
    assert found(shelf, "a") == "a"
    put(shelf, "c")
    assert found(shelf, "abc") == "ab"
    assert found(shelf, "a") == "a"
    put(shelf, "c")
    assert found(shelf, "abc") == "ac"
    assert shelf.evicted == 1


def test_what_comes_once_pushes_nobody_out() -> None:
    """A thousand requests that never come again leave those that do where they are."""
    shelf = room_for(3).shelf()
    put(shelf, "a", "b", "c")
    for number in range(1000):
        shelf.put(b"%d" % number, b"x", 0.0)
    assert found(shelf, "abc") == "abc"
    assert shelf.evicted == 0


def test_an_answer_has_its_time() -> None:
    """Past `ttl_s` it is not given and takes no room; a new one has its own time."""
    replies = room_for(2)
    shelf = replies.shelf(ttl_s=10)
    put(shelf, "a", now=0.0)
    assert found(shelf, "a", now=9.9) == "a"
    assert found(shelf, "a", now=10.0) == ""
    assert replies.bytes == len(shelf) == 0
    put(shelf, "a", now=11.0)
    put(shelf, "a", now=15.0)
    assert found(shelf, "a", now=24.9) == "a"


def test_one_version_has_a_bound_of_its_own_and_all_have_one() -> None:
    """A version at its own bound evicts its own; at the common bound whoever was not asked for longest gives way."""
    replies = room_for(4)
    small, large = replies.shelf(max_bytes=2 * (ENTRY_BYTES + 2)), replies.shelf()
    put(small, "a", "b", "c", "c")
    assert found(small, "abc") == "bc"
    put(large, "d", "e")
    found(small, "b")
    put(large, "f", "f")
    assert found(small, "bc") == "b"
    assert found(large, "def") == "def"


def test_what_is_larger_than_all_is_not_kept() -> None:
    """It would push out everything and not fit; an older answer to the same request goes nevertheless."""
    shelf = room_for(2).shelf()
    put(shelf, "a", "b")
    shelf.put("a", bytes(2 * ENTRY_BYTES), 0.0)
    assert found(shelf, "ab") == "b"
    shelf.put("z", bytes(10_000), 0.0)
    shelf.put("z", bytes(10_000), 0.0)
    assert found(shelf, "bz") == "b"


def test_a_bound_of_nothing_keeps_nothing() -> None:
    """0 bytes switch it off."""
    replies = Replies(0)
    shelf = replies.shelf()
    put(shelf, "a", "a", "a")
    assert len(shelf) == replies.bytes == 0


def test_a_removed_shelf_gives_its_bytes_back() -> None:
    """What a version kept goes with it, the others' stays."""
    replies = room_for(4)
    one, other = replies.shelf(), replies.shelf()
    put(one, "a", "b")
    put(other, "c")
    replies.remove(one)
    assert replies.bytes == other.bytes == ENTRY_BYTES + 2
    assert found(one, "ab") == ""


def test_doorkeeper_forgets_in_bounded_memory() -> None:
    """It remembers one in each place; the next one there takes it."""
    door = Doorkeeper(places=100)
    assert not any(door.lets_in(number) for number in range(1, 100))
    assert all(door.lets_in(number) for number in range(1, 100))
    assert not any(door.lets_in(number) for number in (1, 101, 1))
    assert len(Doorkeeper()._turned_away) == DOOR_PLACES


def test_where_nothing_comes_again_nothing_is_kept_after_a_while() -> None:
    """Unique requests cost no memory beyond the first; the first that come again win the trust back."""
    shelf = Replies(10**9).shelf()
    for number in range(5 * TRUST):
        shelf.put(b"%d" % number, b"x", 0.0)
    assert len(shelf) == TRUST
    put(shelf, "a", "a", "b")
    assert found(shelf, "ab") == "a"
    put(shelf, "c", "d")
    assert found(shelf, "cd") == "cd"


def hit_ratio(shelf: Shelf, draw: Callable[[], bytes], requests: int = 20_000) -> float:
    hits = 0
    for _ in range(requests):
        key = draw()
        if shelf.get(key, lambda: 0.0) is None:
            shelf.put(key, b"x", 0.0)
        else:
            hits += 1
    return hits / requests


def test_skewed_traffic_is_mostly_hits_in_little_room() -> None:
    """With room for 1 % of the requests there are, four in ten of a Zipf-like stream are hits (LRU alone: three)."""
    random = Random(7)
    keys = [b"%d" % number for number in range(50_000)]
    weights = [1 / (rank + 1) for rank in range(len(keys))]
    stream = iter(random.choices(keys, weights, k=20_000))
    assert hit_ratio(room_for(500).shelf(), lambda: next(stream)) > 0.45


class AgainstANaiveModel(RuleBasedStateMachine):
    """Every answer given is the last one stored for that very request, is in time, and the bounds hold throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.replies = Replies(5 * (ENTRY_BYTES + 20))
        self.shelves = {"short": self.replies.shelf(2 * (ENTRY_BYTES + 20), 5.0), "long": self.replies.shelf()}
        self.stored: dict[tuple[str, int], tuple[bytes, float]] = {}
        self.now = 0.0
        self.count = 0

    names = st.sampled_from(["short", "long"])
    keys = st.integers(0, 8)

    @rule(name=names, key=keys, size=st.sampled_from([1, 10, 30, 600, 5000]))
    def put(self, name: str, key: int, size: int) -> None:
        self.count += 1
        answer = b"%d" % self.count + bytes(size)
        self.shelves[name].put(b"%8d" % key, answer, self.now)
        self.stored[name, key] = answer, self.now + (5.0 if name == "short" else inf)

    @rule(name=names, key=keys)
    def get(self, name: str, key: int) -> None:
        answer = self.shelves[name].get(b"%8d" % key, lambda: self.now)
        if answer is not None:
            expected, until = self.stored[name, key]
            assert answer == expected
            assert self.now < until

    @rule(name=names, key=keys)
    def insist(self, name: str, key: int) -> None:
        """What was stored twice in a row, and fits, is there."""
        for _ in range(2):
            self.put(name, key, 1)
        assert self.shelves[name].get(b"%8d" % key, lambda: self.now) == self.stored[name, key][0]

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=names)
    @precondition(lambda self: self.count > 3)
    def clear(self, name: str) -> None:
        self.shelves[name].clear()
        self.stored = {place: what for place, what in self.stored.items() if place[0] != name}

    @invariant()
    def bounds_hold(self) -> None:
        assert self.replies.bytes == sum(shelf.bytes for shelf in self.shelves.values()) <= self.replies.max_bytes
        for shelf in self.shelves.values():
            kept = shelf._entries.items()
            assert sum(len(key) + len(entry[0]) + ENTRY_BYTES for key, entry in kept) == shelf.bytes <= shelf.max_bytes
            used = [entry[2] for _, entry in kept]
            assert used == sorted(used)


TestAgainstANaiveModel = AgainstANaiveModel.TestCase
TestAgainstANaiveModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
