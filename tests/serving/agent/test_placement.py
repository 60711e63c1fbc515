"""What is remembered of a version whose process died."""

import pytest

from serving.agent.placement import Placement, cause_of
from serving.agent.plan import Bounds


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-250, "killed by signal 250"),
    ],
)
def test_return_codes_in_words(code, text):
    """Signals are named; numbers that are no signal stay numbers."""
    assert cause_of(code) == text


def test_delays_double_and_are_bounded():
    """0.5, 1, 2, 4 ... 30, and never more, however often it dies."""
    placement = Placement("a")
    delays = []
    for _ in range(100):
        placement.died_serving("x", 0.0, 0.0, Bounds())
        delays.append(placement.not_before)
    assert delays[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert max(delays) == 30.0


def test_a_healthy_time_forgives():
    """After a minute of readiness the next death counts as the first."""
    placement = Placement("a")
    for _ in range(5):
        placement.died_serving("x", 59.9, 0.0, Bounds())
    placement.died_serving("x", 60.0, 100.0, Bounds())
    assert placement.not_before == 100.5


def test_serving_deaths_are_never_a_verdict_and_ready_clears_loading_ones():
    """Only deaths in a row while loading give a version up."""
    placement = Placement("a")
    for _ in range(2):
        placement.died_loading("x", 0.0, Bounds())
    placement.became_ready()
    for _ in range(20):
        placement.died_serving("x", 0.0, 0.0, Bounds())
    placement.died_loading("x", 0.0, Bounds())
    assert placement.verdict == ""
