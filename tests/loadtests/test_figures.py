"""Medians, ranges and ratios of repeated measurements."""

from loadtests.figures import Figures, over, ratio, shares, spread


def figures(rate: float, cpu_us: float, **parts: float) -> Figures:
    return Figures(rate, 1.0, 2.0, cpu_us, parts or {"server": cpu_us})


def test_a_spread_is_the_median_with_its_range() -> None:
    """One slow round moves the range, not the median."""
    assert spread([10.0, 30.0, 11.0]).words(".0f") == "11 (10-30)"


def test_one_measurement_has_no_range() -> None:
    """A single round is shown as one number."""
    assert spread([1234.5]).words(",.0f") == "1,234"


def test_figures_are_taken_over_rounds() -> None:
    """The accessor chooses which figure."""
    rounds = {0: figures(100, 50), 1: figures(300, 40), 2: figures(200, 45)}
    assert over(rounds, lambda f: f.rate).median == 200
    assert over(rounds, lambda f: f.server_cpu_us).low == 40


def test_ratios_pair_what_was_measured_in_the_same_round() -> None:
    """A machine twice as slow in one round changes no ratio."""
    ours = {0: figures(100, 50), 1: figures(50, 100)}
    theirs = {0: figures(50, 100), 1: figures(25, 200)}
    paired = ratio(ours, theirs, lambda f: f.server_cpu_us)
    assert paired is not None
    assert (paired.median, paired.low, paired.high) == (0.5, 0.5, 0.5)


def test_rounds_that_one_of_the_two_lacks_do_not_count() -> None:
    """A rival that failed half way is compared by the rounds it finished; with none there is no ratio."""
    ours = {0: figures(100, 50), 1: figures(50, 1000)}
    paired = ratio(ours, {0: figures(50, 100)}, lambda f: f.server_cpu_us)
    assert paired is not None
    assert paired.high == 0.5
    assert ratio(ours, {}, lambda f: f.rate) is None


def test_a_process_that_was_not_always_there_counts_as_nothing_then() -> None:
    """A worker restarted under another name does not break the table."""
    rounds = {0: figures(1, 3, router=1, a=2), 1: figures(1, 3, router=3, b=2)}
    assert shares(rounds) == {"a": 1.0, "b": 1.0, "router": 2.0}
