import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.fair import FairQueue, Shares


def pushed(queue: FairQueue[str], *names: str, rows: int = 1) -> None:
    """Entries are called after their tenant: a1, a2, b1."""
    for name in names:
        queue.push(name, tenant=name[0], priority=0, due=10.0, rows=rows)


def served(queue: FairQueue[str], count: int = 100) -> str:
    return " ".join(queue.pop() for _ in range(min(count, len(queue))))


def test_a_flood_does_not_delay_another_tenant() -> None:
    """However long one tenant's queue, another's first request is next but one at most."""
    queue: FairQueue[str] = FairQueue()
    pushed(queue, *[f"a{number}" for number in range(9)])
    assert served(queue, 3) == "a0 a1 a2"
    pushed(queue, "b0", "b1")
    assert served(queue) == "b0 a3 b1 a4 a5 a6 a7 a8"


def test_weights_share_rows() -> None:
    """A weight of 3 gets three rows for each one of the other."""
    queue: FairQueue[str] = FairQueue(Shares({"a": 3.0}))
    pushed(queue, *[f"a{number}" for number in range(6)], *[f"b{number}" for number in range(6)])
    first = served(queue, 8).split()
    assert [sum(name[0] == tenant for name in first) for tenant in "ab"] == [6, 2]


def test_large_requests_count_by_their_rows() -> None:
    """A tenant that asks for four rows at a time is served a quarter as often."""
    queue: FairQueue[str] = FairQueue()
    pushed(queue, "a1", "a2", "a3", rows=4)
    pushed(queue, *[f"b{number}" for number in range(8)])
    first = served(queue, 10).split()
    assert [sum(name[0] == tenant for name in first) for tenant in "ab"] == [2, 8]


def test_priority_and_due_time_count_inside_a_tenant() -> None:
    """The most urgent of a tenant goes first, and takes nothing from another tenant."""
    queue: FairQueue[str] = FairQueue()
    for name, priority, due in (("a-late", 0, 9.0), ("a-soon", 0, 1.0), ("a-first", 1, 9.0), ("b-late", 0, 99.0)):
        queue.push(name, tenant=name[0], priority=priority, due=due)
    assert served(queue) == "a-first b-late a-soon a-late"


def test_one_who_was_away_saves_nothing_up() -> None:
    """A tenant that comes back takes turns from now on, it does not make up for its absence."""
    queue: FairQueue[str] = FairQueue()
    pushed(queue, "b0", *[f"a{number}" for number in range(8)])
    served(queue, 6)
    pushed(queue, "b1", "b2", "b3")
    assert served(queue, 6) == "b1 b2 a5 b3 a6 a7"


def test_shares_and_what_is_ahead() -> None:
    """Of another tenant's rows only those count that fair sharing lets through first."""
    queue: FairQueue[str] = FairQueue(Shares({"a": 3.0}))
    assert (queue.share("a"), queue.rows_ahead("a", priority=0, due=1.0)) == (1.0, 0)
    pushed(queue, *[f"b{number}" for number in range(100)])
    assert queue.share("a") == 0.75
    assert queue.share("b") == 1.0
    assert queue.rows_ahead("a", priority=0, due=1.0) == pytest.approx(1 / 3)
    assert queue.rows_ahead("b", priority=0, due=99.0) == 100
    pushed(queue, "a0")
    assert queue.rows_ahead("b", priority=0, due=99.0) == 101
    assert (queue.pending("a"), queue.pending("b"), queue.pending("c"), queue.rows) == (1, 100, 0, 101)
    assert (queue.share("a"), queue.share("c")) == (0.75, 0.2)


def test_others_who_come_again_and_again_count_by_what_they_took() -> None:
    """One of b between any two of a, never more than one waiting: ten of a have about ten of b among them."""
    queue: FairQueue[str] = FairQueue()
    pushed(queue, *[f"a{number}" for number in range(100)])
    for turn in range(90):
        pushed(queue, f"b{turn}")
        queue.pop()
        queue.pop()
    assert queue.rows_ahead("a", priority=0, due=99.0) == pytest.approx(20, rel=0.1)
    assert queue.rows_ahead("b", priority=0, due=99.0) == 1


def test_tenants_beyond_the_bound_share_a_place() -> None:
    """Made-up names cannot take more than one share together; names with a weight always have their own."""
    queue: FairQueue[str] = FairQueue(Shares({"z": 1.0}, max_tenants=2))
    pushed(queue, "a0", "a1", "b0", "c0", "d0", "z0")
    assert queue.pending("c") == queue.pending("d") == queue.pending("") == 2
    assert served(queue) == "a0 b0 c0 z0 a1 d0"


def test_discard_takes_out_and_an_empty_queue_begins_anew() -> None:
    """What is cancelled costs its tenant nothing."""
    queue: FairQueue[str] = FairQueue()
    pushed(queue, "a0", "a1", "b0")
    assert queue.peek() == "a0"
    assert queue.discard("a0")
    assert not queue.discard("a0")
    assert "a0" not in queue
    assert sorted(queue) == ["a1", "b0"]
    assert served(queue) == "a1 b0"
    assert queue.peek() is None
    with pytest.raises(IndexError):
        queue.pop()


WEIGHTS = {"a": 1.0, "b": 2.0, "c": 0.5}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.integers(1, 9)),
        st.tuples(st.just("pop"), st.just(0)),
        st.tuples(st.just("discard"), st.integers(0, 50)),
    ),
    max_size=80,
)


@given(STEPS)
def test_nothing_is_lost_and_something_is_always_next(steps: list[tuple[str, int]]) -> None:
    """Work conserving in any history: while anything waits, something is next, and each comes out once."""
    queue: FairQueue[int] = FairQueue(Shares(WEIGHTS, max_tenants=2))
    waiting: dict[int, int] = {}
    for number, (what, size) in enumerate(steps):
        if what == "pop":
            assert (queue.peek() is None) == (not waiting)
            if waiting:
                expected = queue.peek()
                assert queue.pop() == expected
                assert expected is not None
                del waiting[expected]
        elif what == "discard":
            assert queue.discard(size) == (waiting.pop(size, None) is not None)
        else:
            queue.push(number, tenant=what, priority=0, due=1.0, rows=size)
            waiting[number] = size
        assert (len(queue), queue.rows, sorted(queue)) == (len(waiting), sum(waiting.values()), sorted(waiting))
    assert sorted(queue.pop() for _ in range(len(queue))) == sorted(waiting)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=120), st.integers(0, 60))
def test_shares_are_within_one_request_of_ideal(arrivals: list[tuple[str, int]], count: int) -> None:
    """While two tenants both wait, rows over weight differ by at most a request of each (SFQ, theorem 1)."""
    queue: FairQueue[tuple[int, str, int]] = FairQueue(Shares(WEIGHTS))
    left: dict[str, int] = dict.fromkeys("abc", 0)
    largest: dict[str, int] = dict.fromkeys("abc", 0)
    for number, (tenant, rows) in enumerate(arrivals):
        queue.push((number, tenant, rows), tenant=tenant, priority=0, due=1.0, rows=rows)
        left[tenant] += 1
        largest[tenant] = max(largest[tenant], rows)
    given = dict.fromkeys("abc", 0)
    for _ in range(min(count, len(arrivals))):
        _, tenant, rows = queue.pop()
        given[tenant] += rows
        left[tenant] -= 1
        both = [name for name in "abc" if left[name]]
        for one in both:
            for other in both:
                apart = given[one] / WEIGHTS[one] - given[other] / WEIGHTS[other]
                assert apart <= largest[one] / WEIGHTS[one] + largest[other] / WEIGHTS[other] + 1e-9


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_nobody_starves(rivals: list[str]) -> None:
    """A request waits for no more than one turn of each other tenant per weight, however many they push meanwhile."""
    queue: FairQueue[str] = FairQueue(Shares(WEIGHTS))
    pushed(queue, *[f"{tenant}{number}" for number, tenant in enumerate(rivals)])
    for _ in range(len(rivals) // 2):
        queue.pop()
    queue.push("mine", tenant="x", priority=0, due=1.0)
    turns = 0
    while queue.pop() != "mine":
        turns += 1
        pushed(queue, f"a+{turns}", f"b+{turns}", f"c+{turns}")
    assert turns <= 1 + 2 + 1
