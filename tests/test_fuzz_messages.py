"""The first few thousand of `python -m tests.fuzz_messages`."""

import pytest

from tests.fuzz_messages import PLACES, failing


@pytest.mark.parametrize("place", range(len(PLACES)), ids=lambda place: PLACES[place].__name__)
def test_damaged_messages_end_in_a_named_error(place: int) -> None:
    """Whatever bytes come, a place that reads them takes them or raises its own error, and every caller is answered."""
    for seed in range(place, 500 * len(PLACES), len(PLACES)):
        assert not failing(seed), f"seed {seed}"
