import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.admission import LEAST_RUNS, MARGIN, OUTLIER, outlook, patience_s, plausible_s, retry_after
from serving.policy.cost import RunCost


def replica(rows: int, run_s: float, runs: int = 50, noise_s: float = 0.0) -> RunCost:
    pace = RunCost()
    for number in range(runs):
        pace.observe(rows, run_s + (noise_s if number % 2 else -noise_s))
    return pace


def test_nothing_is_refused_on_no_evidence() -> None:
    """Before LEAST_RUNS batches were seen under load there is no outlook, and so no refusal."""
    assert outlook([], 1e9) is None
    assert outlook([RunCost()], 1e9) is None
    assert outlook([replica(1, 10.0, LEAST_RUNS - 1)], 1e9) is None
    assert retry_after(None, 0.0) == 0


def test_the_queue_drains_at_the_sum_of_paces() -> None:
    """Two replicas, 8 rows in 10 ms and in 40 ms: a thousand rows a second, then a batch of its own."""
    view = outlook([replica(8, 0.010), replica(8, 0.040)], 500)
    assert view is not None
    assert view.expected_s == pytest.approx(0.5 + 0.025)
    assert view.latest_s == pytest.approx(view.expected_s)


def test_an_unknown_replica_counts_as_the_mean_of_the_others() -> None:
    """A newcomer is neither ignored nor trusted more than the rest."""
    one, two = outlook([replica(1, 0.01)], 100), outlook([replica(1, 0.01), RunCost()], 100)
    assert one is not None
    assert two is not None
    assert (one.expected_s, two.expected_s) == pytest.approx((1.01, 0.51))


def test_noise_asks_for_a_margin_that_grows_with_the_root_of_the_queue() -> None:
    """Deviations of batches in a row add up as their squares."""
    short, long = outlook([replica(1, 0.01, noise_s=0.002)], 0), outlook([replica(1, 0.01, noise_s=0.002)], 99)
    assert short is not None
    assert long is not None
    assert short.latest_s - short.expected_s == pytest.approx(MARGIN * 0.002, rel=0.1)
    assert long.latest_s - long.expected_s == pytest.approx(MARGIN * 0.02, rel=0.1)


def test_a_large_request_takes_its_own_time() -> None:
    """A hundred rows where a batch has ten take ten batches."""
    view = outlook([replica(10, 0.1)], 0, rows=100)
    assert view is not None
    assert view.expected_s == pytest.approx(1.0)


def test_the_delay_is_what_it_is_late_by() -> None:
    """A queue of one second against 300 ms: come back when 0.7 s of it are gone, at least one batch later."""
    view = outlook([replica(1, 0.01)], 99)
    assert retry_after(view, 1.1) == 0
    assert retry_after(view, 0.3) == pytest.approx(0.7)
    assert retry_after(view, 0.995) == pytest.approx(0.01)
    assert retry_after(view, -1.0) == pytest.approx(1.0)


def test_a_hiccup_is_cut_and_a_change_is_followed() -> None:
    """One batch of a second among those of 10 ms counts as 30 ms; a hundred in a row are believed."""
    pace = replica(1, 0.01)
    assert plausible_s(pace, 1.0) == pytest.approx(OUTLIER * 0.01)
    assert plausible_s(RunCost(), 1.0) == 1.0
    for _ in range(100):
        pace.observe(1, plausible_s(pace, 1.0))
    assert pace.mean_s == pytest.approx(1.0, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 1.0), st.integers(0, 20)), max_size=4),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.floats(0, 10),
    st.floats(0, 10),
)
def test_a_shorter_queue_or_more_time_never_turns_yes_into_no(
    paces: list[tuple[int, float, int]], rows: float, fewer: float, allowed_s: float, more_s: float
) -> None:
    """Refusal is monotone, and asking changes nothing."""
    replicas = [replica(size, run_s, runs, run_s / 4) for size, run_s, runs in paces]
    rows, fewer = max(rows, fewer), min(rows, fewer)
    if not retry_after(outlook(replicas, rows), allowed_s):
        assert not retry_after(outlook(replicas, fewer), allowed_s)
        assert not retry_after(outlook(replicas, rows), allowed_s + more_s)
    assert outlook(replicas, rows) == outlook(replicas, rows)


def test_a_burst_may_take_all_its_time_and_a_standing_queue_a_part_of_it():
    """Once the queue has not run empty for as long as a request may take; then at least three batches are left."""
    view = outlook([replica(10, 0.01)], 100)
    assert [patience_s(view, 0.4, standing_s) for standing_s in (0.0, 0.4, 0.41, 60.0)] == [0.4, 0.4, 0.1, 0.1]
    assert patience_s(view, 0.02, 0.05) == 0.02  # a tenth of a second is no standing, however little time there is
    assert patience_s(view, 0.1, 1.0) == pytest.approx(0.03)
    assert patience_s(view, 0.02, 1.0) == 0.02
    assert patience_s(None, 0.4, 60.0) == 0.4
