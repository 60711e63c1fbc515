"""Most urgent first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.queue import UrgencyQueue
from serving.spec import DEFAULT_PRIORITY


def test_priority_then_deadline_then_arrival() -> None:
    """1 is the highest priority; one that gives none ranks as 100."""
    queue: UrgencyQueue[str] = UrgencyQueue()
    queue.push("late default", priority=0, due=9)
    queue.push("early default", priority=0, due=1)
    queue.push("below default", priority=101, due=0)
    queue.push("urgent", priority=1, due=99)
    queue.push("early default, second", priority=0, due=1)
    assert [queue.pop() for _ in range(len(queue))] == [
        "urgent",
        "early default",
        "early default, second",
        "late default",
        "below default",
    ]


def test_empty_queue_says_so() -> None:
    """Popping nothing is an error, peeking is not."""
    queue: UrgencyQueue[str] = UrgencyQueue()
    assert queue.peek() is None
    with pytest.raises(IndexError):
        queue.pop()


def test_entry_that_comes_back_takes_its_new_place() -> None:
    """After discard and push the old place must not count."""
    queue: UrgencyQueue[str] = UrgencyQueue()
    queue.push("a", priority=1, due=1)
    queue.push("b", priority=2, due=1)
    queue.discard("a")
    queue.push("a", priority=3, due=1)
    assert [queue.pop(), queue.pop()] == ["b", "a"]
    assert not queue


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), max_size=300))
def test_any_history_pops_the_living_in_order(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever was pushed and discarded, what is left comes out sorted and complete."""
    queue: UrgencyQueue[int] = UrgencyQueue()
    living = {}
    for number, (priority, deadline, keep) in enumerate(steps):
        queue.push(number, priority=priority, due=deadline)
        living[number] = (priority or DEFAULT_PRIORITY, deadline, number)
        if not keep:
            assert queue.discard(number)
            assert not queue.discard(number)
            del living[number]
    assert len(queue) == len(living)
    assert [queue.pop() for _ in living] == sorted(living, key=living.__getitem__)


def test_rows_ahead_are_those_that_are_more_urgent() -> None:
    """By priority first, then by when they are due, to the next 10 ms; what was taken out no longer counts."""
    queue: UrgencyQueue[str] = UrgencyQueue()
    queue.push("slow", priority=0, due=30.0, rows=5)
    queue.push("soon", priority=0, due=1.0, rows=2)
    queue.push("first", priority=1, due=60.0, rows=1)
    assert queue.rows == 8
    assert queue.rows_ahead(priority=0, due=31.0) == 8
    assert queue.rows_ahead(priority=0, due=2.0) == 3
    assert queue.rows_ahead(priority=0, due=0.5) == 1
    assert queue.rows_ahead(priority=1, due=0.5) == 0
    queue.discard("soon")
    assert queue.pop() == "first"
    assert queue.rows_ahead(priority=0, due=2.0) == 0
    assert queue.pop() == "slow"
    assert queue.rows == queue.rows_ahead(priority=0, due=99.0) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(1, 9)), max_size=30))
def test_rows_ahead_of_the_next_are_exactly_those_pushed_more_urgent(steps: list[tuple[int, int, int]]) -> None:
    """Whatever was pushed in whatever order, with times that do not share a slot."""
    queue: UrgencyQueue[int] = UrgencyQueue()
    for number, (priority, due, rows) in enumerate(steps):
        key = (priority or 100, due)
        ahead = sum(other for rank, at, other in steps[:number] if (rank or 100, at) <= key)
        assert queue.rows_ahead(priority=priority, due=float(due)) == ahead
        queue.push(number, priority=priority, due=float(due), rows=rows)
