import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.policy.cost import RunCost
from serving.policy.credit import (
    LEAST_ROWS,
    LINGER_S,
    PREFETCH_S,
    overlapping_batch_rows,
    useful_batch_rows,
    window_rows,
)


def learned(base_s: float, per_row_s: float, most_rows: int) -> RunCost:
    cost = RunCost()
    for rows in (1, max(2, most_rows)) * 50:
        cost.observe(rows, base_s + per_row_s * rows)
    return cost


@pytest.mark.parametrize(
    ("base_s", "per_row_s", "most", "round_trip_s", "expected"),
    [
        (100e-6, 1e-6, 256, 300e-6, 512),  # fast: two full batches are less than LINGER_S of work
        (10e-6, 0.0, 1, 300e-6, LEAST_ROWS),  # fast, not batched: the round trip would starve it
        (0.0, 0.005, 1, 300e-6, 2),  # slow, not batched: one runs, one is on its way
        (0.0, 0.020, 1, 300e-6, 2),  # a second one delays nobody for long
        (0.0, 0.050, 1, 300e-6, 1),  # slower: the way is short beside the run
        (0.0, 0.050, 1, 0.010, 2),  # the same over a long link
        (0.0, 0.005, 256, 50e-6, 2),  # batches gain it nothing, so it gets none
        (0.100, 0.0, 8, 300e-6, 8),  # one useful batch
        (0.100, 0.0, 8, 0.010, 16),  # over a long link two
        (0.010, 0.050, 1000, 300e-6, 4),  # the batch where rows cost a twentieth more than in the largest
        (0.010, 0.001, 1000, 300e-6, 332),  # of many rows, whose way takes long beside the run: a second one
        (1.0, 0.0, 1, 0.0, 2),  # the round trip is not known yet
    ],
)
def test_window_keeps_the_runtime_busy_and_no_more(
    base_s: float, per_row_s: float, most: int, round_trip_s: float, expected: int
) -> None:
    """Fast models get large windows, slow ones the least that the link's round trip allows."""
    assert window_rows(most, 1, learned(base_s, per_row_s, most), round_trip_s) == expected


def test_nothing_known() -> None:
    """Before the first run: two batches, divided by the routers and rounded up."""
    assert [window_rows(256, routers, RunCost()) for routers in (0, 1, 2, 3)] == [512, 512, 256, 171]


def test_every_router_gets_something() -> None:
    """However many routers there are, each may send one row."""
    assert window_rows(1, 10_000, RunCost()) == 1


@given(st.floats(0, 0.1), st.floats(0, 0.1), st.integers(1, 1000), st.floats(1e-6, 0.05))
def test_the_queue_at_a_worker_is_short(base_s: float, per_row_s: float, most: int, round_trip_s: float) -> None:
    """Never more than LINGER_S of work beyond two useful batches, and beyond one only where the link is slow."""
    cost = learned(base_s, per_row_s, most)
    rows, batch = window_rows(most, 1, cost, round_trip_s), useful_batch_rows(most, cost)
    assert 1 <= rows <= max(LEAST_ROWS, 2 * most)
    assert rows >= batch
    if rows > 2 * batch:
        assert rows * cost.expected_s(batch) / batch <= LINGER_S * 1.001


@given(st.floats(0, 0.1), st.floats(0, 0.1), st.integers(1, 1000))
def test_a_long_run_is_cut_where_that_costs_next_to_nothing(base_s: float, per_row_s: float, most: int) -> None:
    """A run holds what is allowed, or what takes PREFETCH_S, or rows within a fortieth of the cheapest."""
    cost = learned(base_s, per_row_s, most)
    rows = overlapping_batch_rows(most, cost)
    assert 1 <= rows <= most
    if rows < most:
        long_enough = cost.expected_s(rows + 1) > PREFETCH_S
        assert long_enough
        assert cost.expected_s(rows) / rows <= 1.026 * cost.expected_s(most) / most or per_row_s < 1e-6


def test_nothing_known_bounds_no_run() -> None:
    """Before the first run, and where any number of rows is done in no time, a run may be as large as allowed."""
    assert overlapping_batch_rows(256, RunCost()) == 256
    assert overlapping_batch_rows(256, learned(0.0001, 0.00001, 256)) == 256
