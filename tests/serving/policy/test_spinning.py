from serving.policy.spinning import Spinning, spin_limit_s

LIMIT_S = 0.0003
SHORT_S, LONG_S = 0.0001, 0.001


def warm() -> Spinning:
    policy = Spinning(LIMIT_S)
    while not policy.paused(SHORT_S):
        pass
    return policy


def test_short_pauses_one_after_another_are_worth_it() -> None:
    """A caller that sends one request after another is noticed within some tens of pauses."""
    policy = Spinning(LIMIT_S)
    assert [policy.paused(SHORT_S) for _ in range(35)] == [0.0] * 35
    assert [policy.paused(SHORT_S) for _ in range(3)] == [LIMIT_S] * 3


def test_a_long_pause_now_and_then_is_forgiven_two_in_a_row_are_not() -> None:
    """A caller that stops costs one limit, and its next request begins anew."""
    policy = warm()
    for _ in range(100):
        policy.paused(SHORT_S)
    assert policy.paused(LONG_S) == LIMIT_S
    assert policy.paused(LONG_S) == 0.0
    assert policy.paused(SHORT_S) == 0.0


def test_a_long_pause_of_six_ends_it() -> None:
    """What is spun in vain stays far below what work takes."""
    policy = warm()
    spun = [policy.paused(LONG_S if number % 6 == 0 else SHORT_S) for number in range(400)]
    assert not any(spun[80:])


def test_seldom_work_never_spins() -> None:
    """A request a millisecond finds a sleeping loop, and lets others have the processor."""
    policy = Spinning(LIMIT_S)
    assert not any(policy.paused(pause) for _ in range(200) for pause in (LONG_S, SHORT_S))


def test_no_limit_no_spinning_and_none_on_a_single_processor() -> None:
    """Whoever spins there keeps the work from being done."""
    policy = Spinning(0.0)
    assert not any(policy.paused(0.0) for _ in range(100))
    assert [spin_limit_s(LIMIT_S, cores) for cores in (0.5, 1, 1.9, 2, 64)] == [0.0, 0.0, 0.0, LIMIT_S, LIMIT_S]
