"""Most urgent first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.queue import UrgencyQueue
from serving.spec import DEFAULT_PRIORITY


def test_priority_then_deadline_then_arrival() -> None:
    """1 is the highest priority; one that gives none ranks as 100."""
    queue: UrgencyQueue[str] = UrgencyQueue()
    queue.push("late default", priority=0, deadline=9)
    queue.push("early default", priority=0, deadline=1)
    queue.push("below default", priority=101, deadline=0)
    queue.push("urgent", priority=1, deadline=99)
    queue.push("early default, second", priority=0, deadline=1)
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
    queue.push("a", priority=1, deadline=1)
    queue.push("b", priority=2, deadline=1)
    queue.discard("a")
    queue.push("a", priority=3, deadline=1)
    assert [queue.pop(), queue.pop()] == ["b", "a"]
    assert not queue


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), max_size=300))
def test_any_history_pops_the_living_in_order(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever was pushed and discarded, what is left comes out sorted and complete."""
    queue: UrgencyQueue[int] = UrgencyQueue()
    living = {}
    for number, (priority, deadline, keep) in enumerate(steps):
        queue.push(number, priority=priority, deadline=deadline)
        living[number] = (priority or DEFAULT_PRIORITY, deadline, number)
        if not keep:
            assert queue.discard(number)
            assert not queue.discard(number)
            del living[number]
    assert len(queue) == len(living)
    assert [queue.pop() for _ in living] == sorted(living, key=living.__getitem__)
