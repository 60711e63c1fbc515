"""Which replica gets the next request."""

from hypothesis import given
from hypothesis import strategies as st

from router.policy.binding import choose, has_room


def test_most_free_window_wins() -> None:
    """Of those with room, the one with the largest free share."""
    assert choose([(60, 100), (10, 100), (0, 10)], 5) == 2
    assert choose([(60, 100), (10, 100), (6, 10)], 5) == 1


def test_full_replicas_are_left_alone() -> None:
    """No room anywhere: the request waits."""
    assert choose([(100, 100), (96, 100)], 5) is None
    assert choose([], 1) is None


def test_request_larger_than_every_window_runs_on_an_empty_replica() -> None:
    """It must not wait for ever, and must not join others."""
    assert choose([(1, 10), (0, 10)], 50) == 1
    assert choose([(1, 10)], 50) is None


def test_replica_without_credit_gets_nothing() -> None:
    """A window of zero is closed even for a first request."""
    assert choose([(0, 0)], 1) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5), st.integers(1, 30))
def test_choice_always_has_room_and_none_means_nobody_has(seats: list[tuple[int, int]], rows: int) -> None:
    """Nobody idles while work waits, nobody is overfilled."""
    index = choose(seats, rows)
    if index is None:
        assert not any(has_room(*seat, rows) for seat in seats)
    else:
        assert has_room(*seats[index], rows)
