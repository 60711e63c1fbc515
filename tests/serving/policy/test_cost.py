from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.policy.cost import RunCost


def test_nothing_is_expected_before_the_first_run() -> None:
    """A new version costs nothing yet, and says that it has seen nothing."""
    assert (RunCost().expected_s(10), RunCost().seen) == (0, 0)


def test_one_size_gives_a_flat_line() -> None:
    """Runs of one size tell nothing of others: the mean is the answer for all."""
    cost = RunCost()
    for _ in range(3):
        cost.observe(1, 0.25)
    assert (cost.expected_s(1), cost.expected_s(100), cost.seen) == (0.25, 0.25, 3)


def test_a_line_is_learned() -> None:
    """From runs of several sizes it finds the base and the cost of a row."""
    cost = RunCost()
    for step in range(200):
        rows = 1 + step % 32
        cost.observe(rows, 0.001 + 0.0005 * rows)
    assert cost.expected_s(1) == pytest.approx(0.0015, rel=1e-6)
    assert cost.expected_s(64) == pytest.approx(0.033, rel=1e-6)


def test_it_follows_a_machine_that_slows_down() -> None:
    """Old runs fade: after 50 slow ones the answer is within 1 % of theirs."""
    cost = RunCost()
    for _ in range(1000):
        cost.observe(4, 0.001)
    for _ in range(50):
        cost.observe(4, 0.010)
    assert cost.expected_s(4) == pytest.approx(0.010, rel=0.01)


def test_a_slow_first_run_is_soon_forgotten() -> None:
    """The first runs count equally, so one cold start does not rule for long."""
    cost = RunCost()
    for duration in (1.0, 0.001, 0.001, 0.001):
        cost.observe(1, duration)
    assert cost.expected_s(1) == pytest.approx(0.25075)


def test_the_slope_outlives_a_time_of_single_rows() -> None:
    """After ten thousand runs of one row it still knows what a hundred rows cost."""
    cost = RunCost()
    for rows in (1, 100):
        cost.observe(rows, 0.001 * rows)
    for _ in range(10_000):
        cost.observe(1, 0.001)
    assert cost.expected_s(100) == pytest.approx(0.1, rel=1e-3)
    assert (cost.mean_rows, cost.mean_s) == pytest.approx((1, 0.001))


def test_the_spread_is_around_the_line() -> None:
    """Runs that differ because their rows do have none; noise of 2 ms either way has 2 ms."""
    exact, noisy = RunCost(), RunCost()
    for step in range(400):
        rows = 1 + step % 16
        exact.observe(rows, 0.001 * rows)
        noisy.observe(rows, 0.010 + 0.001 * rows + (0.002 if step % 2 else -0.002))
    assert exact.deviation_s == pytest.approx(0, abs=1e-6)
    assert noisy.deviation_s == pytest.approx(0.002, rel=0.1)


def test_rows_within_a_time() -> None:
    """The inverse of the expectation; without a slope any number fits, and nothing fits in less than one row takes."""
    cost = RunCost()
    assert cost.rows_within(0.1) == inf
    for rows in (1, 9) * 50:
        cost.observe(rows, 0.010 + 0.002 * rows)
    assert cost.rows_within(0.050) == pytest.approx(20)
    assert cost.rows_within(0.011) == 0


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 10)), min_size=1, max_size=50), st.integers(1, 2000))
def test_it_is_never_negative_and_never_falls_with_rows(runs: list[tuple[int, float]], rows: int) -> None:
    """Whatever was seen, more rows never cost less, and nothing costs less than nothing."""
    cost = RunCost()
    for seen, duration in runs:
        cost.observe(seen, duration)
    assert 0 <= cost.expected_s(rows) <= cost.expected_s(rows + 1)
