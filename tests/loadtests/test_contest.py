"""The accounting of a load: what h2load cannot see is still noticed."""

import pytest

from loadtests.contest import cases, unaccounted
from loadtests.h2load import Outcome

SIZE = 57


def outcome(succeeded: int, data_bytes: int) -> Outcome:
    return Outcome(1000, succeeded, 1.0, [0.001], data_bytes)


def test_a_load_without_fault_has_no_fault() -> None:
    """Every request answered, every answer as long as a right one, the server agrees."""
    assert unaccounted(outcome(1000, 1000 * SIZE), 1000, SIZE, 1000) == ""


def test_a_grpc_error_is_noticed_by_its_missing_bytes() -> None:
    """h2load counts 200 for an error in the trailers; the message that is missing gives it away."""
    assert "some were errors" in unaccounted(outcome(1000, 999 * SIZE), 1000, SIZE, None)


@pytest.mark.parametrize(
    ("found", "own_count", "words"),
    [(outcome(998, 1000 * SIZE), 1000, "998 answered"), (outcome(1000, 1000 * SIZE), 997, "counts 997 successes")],
)
def test_every_other_count_must_agree(found: Outcome, own_count: int, words: str) -> None:
    """HTTP failures and the server's own count are looked at too."""
    assert words in unaccounted(found, 1000, SIZE, own_count)


def test_answers_of_varying_length_are_not_judged_by_it() -> None:
    """Then the server's own count is what is left."""
    assert unaccounted(outcome(1000, 12345), 1000, None, 1000) == ""


def test_the_cases_cover_every_number_in_flight() -> None:
    """One gRPC case for each number asked for, one multiplexed, REST in both forms."""
    names = [case.name for case in cases([1, 8])]
    assert names[:3] == ["gRPC, 1 in flight", "gRPC, 8 in flight", "gRPC, 32 streams on one connection"]
    assert {"REST binary, 32 in flight", "REST JSON, 32 in flight"} <= set(names)
