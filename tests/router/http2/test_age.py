"""When a connection is asked to go."""

from router.http2.age import Age
from router.http2.limits import Http2Limits

LIMITS = Http2Limits(max_connection_age_s=100.0, max_connection_age_grace_s=30.0)


def stages(age: Age, *times: float) -> list[str]:
    return [age.check(now).value for now in times]


def test_the_stages_come_once_each_in_order() -> None:
    """Ask to go, refuse new calls a little later, end what is left after the grace."""
    age = Age(LIMITS, now=1000.0, chance=0.5)
    seen = stages(age, 1000.0, 1099.0, 1100.0, 1101.0, 1105.0, 1106.0, 1129.0, 1130.0, 1131.0, 9999.0)
    expected = ["young", "young", "start drain", "young", "finish drain", "young", "young", "give up", "young", "young"]
    assert seen == expected


def test_ages_are_spread_over_a_tenth_to_either_side() -> None:
    """So that connections made together do not come back together."""
    youngest, oldest = Age(LIMITS, 0.0, chance=0.0), Age(LIMITS, 0.0, chance=1.0)
    assert stages(youngest, 89.9, 90.0) == ["young", "start drain"]
    assert stages(oldest, 109.9, 110.1) == ["young", "start drain"]


def test_without_a_limit_nothing_grows_old() -> None:
    """0 is off, the default."""
    assert stages(Age(Http2Limits(), 0.0, chance=0.0), 1e9) == ["young"]


def test_without_grace_all_stages_are_due_at_once() -> None:
    """Asked again and again, each is given in turn."""
    age = Age(Http2Limits(max_connection_age_s=10.0, max_connection_age_grace_s=0.0), 0.0, chance=0.5)
    assert stages(age, 10.0, 10.0, 10.0, 10.0) == ["start drain", "finish drain", "give up", "young"]


def test_asked_late_the_stages_still_come_in_order() -> None:
    """A sweep that was held up skips none."""
    assert stages(Age(LIMITS, 0.0, chance=0.5), 5000.0, 5000.0, 5000.0) == ["start drain", "finish drain", "give up"]
