"""When to give up on what."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from router.policy.deadlines import DeadlineSlots


def test_expires_late_by_less_than_the_resolution_and_never_early() -> None:
    """An entry is not given up before its deadline."""
    slots: DeadlineSlots[str] = DeadlineSlots(resolution_s=0.01)
    slots.add("a", 1.0)
    assert slots.expire(1.0) == []
    due = slots.next_due()
    assert due is not None
    assert 1.0 < due <= 1.0101
    assert slots.expire(due) == ["a"]
    assert slots.next_due() is None


def test_discarded_entries_are_forgotten_at_once() -> None:
    """An answered request leaves nothing behind, not even a wake-up."""
    slots: DeadlineSlots[str] = DeadlineSlots()
    slot = slots.add("a", 5.0)
    slots.discard("a", slot)
    slots.discard("a", slot)
    assert slots.next_due() is None
    assert slots.expire(10.0) == []


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=60), st.lists(st.floats(0, 12), max_size=20))
def test_every_entry_expires_exactly_once(entries: list[tuple[float, bool]], ticks: list[float]) -> None:
    """However time is cut into ticks, all that stay come out once, none before its time."""
    slots: DeadlineSlots[int] = DeadlineSlots()
    expected = set()
    for number, (deadline, keep) in enumerate(entries):
        slot = slots.add(number, deadline)
        if keep:
            expected.add(number)
        else:
            slots.discard(number, slot)
    seen: list[int] = []
    for now in [*sorted(ticks), 100.0]:
        expired = slots.expire(now)
        assert all(entries[number][0] <= now for number in expired)
        seen += expired
    assert sorted(seen) == sorted(expected)


def test_a_slot_whose_entries_have_gone_is_small_again() -> None:
    """What was answered long before its deadline costs nothing until then, however busy its slot was."""
    slots: DeadlineSlots[int] = DeadlineSlots()
    kept = [(entry, slots.add(entry, 60.0)) for entry in range(1000)]
    for entry, slot in kept:
        slots.discard(entry, slot)
    assert [sys.getsizeof(entries) for entries in slots._slots.values()] == [sys.getsizeof(set())]
