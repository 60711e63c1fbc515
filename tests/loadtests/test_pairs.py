"""Ratios of two servers by turns, and what is made of them: settings compared, regressions found."""

from dataclasses import replace

import pytest

from loadtests.bench.generator import Job, Result
from loadtests.bench.pairs import Side, cpu_us, estimate, ratios
from loadtests.bench.versus import settings_of
from loadtests.bench.wire import Message
from loadtests.ratio import Recorded, recorded, regressions, yardstick

MESSAGE = Message("127.0.0.1", 1, "/", (), b"", 1)
RESULT = Result(1.0, 100, [0.001] * 100, 0, 0, 100, [0.0] * 100, 12.0, 0.1, 1.0)


def test_neighbours_make_a_pair_and_the_order_changes() -> None:
    """A machine that becomes slower all the time harms both sides alike: it is A B, B A, A B."""
    asked: list[str] = []

    def measure(side: Side) -> float:
        asked.append(side.name)
        return 30.0 if side.name == "a" else 20.0

    one, other = (Side(name, MESSAGE, lambda: 0.0) for name in "ab")
    assert ratios(one, other, 3, measure) == [1.5, 1.5, 1.5]
    assert "".join(asked) == "abbaab"


def test_the_interval_holds_the_median_and_is_the_same_every_time() -> None:
    """One wild slice moves neither much."""
    found = estimate([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 3.0])
    assert found == estimate([1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 3.0])
    assert 0.98 <= found.low <= found.median == 1.0 <= found.high <= 1.02
    assert found.words == "1.000 (0.990-1.020, 9 pairs)"


def test_cpu_is_shared_among_the_requests_of_a_slice() -> None:
    """Read before and after; a refused request makes the slice worthless."""
    readings = iter([1.0, 1.004, 1.0, 1.004])
    side = Side("a", MESSAGE, lambda: next(readings))

    def load(job: Job) -> Result:
        return RESULT

    assert cpu_us(side, 1.0, load) == pytest.approx(40.0)
    with pytest.raises(RuntimeError, match="a: 1 of 100"):
        cpu_us(side, 1.0, lambda job: replace(RESULT, refused=1))


def test_settings_are_written_as_paths() -> None:
    """Values are YAML, blocks are joined; a word without a sign is shown with the right form."""
    words = ["router.limits.max_pending=5", "router.front=grpcio", "router.limits.x=[1, 2]"]
    assert settings_of(words) == {"router": {"limits": {"max_pending": 5, "x": [1, 2]}, "front": "grpcio"}}
    with pytest.raises(ValueError, match="write KEY"):
        settings_of(["router.front"])


def test_a_regression_is_what_lies_beyond_the_noise() -> None:
    """Up to 30 % above the highest of the recorded runs is noise, and cheaper is never a fault."""
    known = {"grpc": recorded([2.0, 2.1, 1.9])}
    assert known["grpc"] == Recorded(2.0, 1.9, 2.1, 3)
    assert regressions({"grpc": 2.7}, known) == []
    assert regressions({"grpc": 1.0}, known) == []
    assert regressions({"grpc": 2.74}, known) == [
        "grpc: 2.740 of the yardstick, recorded 2.000 (1.900-2.100), at most 2.730"
    ]


def test_the_yardstick_answers() -> None:
    """Its answers are those that the generator expects, and its CPU can be read."""
    with yardstick() as side:
        assert cpu_us(side, 0.2) > 0
