"""When a dead process starts again."""

from router.policy.restarts import HEALTHY_AFTER_S, LONGEST_S, Restarts


def test_delays_double_up_to_a_bound():
    """A process that dies at once is tried ever less often, for ever."""
    restarts = Restarts()
    delays = [restarts.delay_s(lived_s=0.0) for _ in range(100)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == LONGEST_S
    assert delays == sorted(delays)


def test_a_healthy_life_starts_over():
    """One death a week is always the first."""
    restarts = Restarts()
    assert [restarts.delay_s(HEALTHY_AFTER_S) for _ in range(3)] == [0.1, 0.1, 0.1]
