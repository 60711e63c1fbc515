import pytest

from serving.policy.credit import LEAST_ROWS, window_rows


@pytest.mark.parametrize(
    ("max_batch_rows", "routers", "expected"),
    [(256, 1, 512), (256, 2, 256), (256, 3, 171), (1, 1, LEAST_ROWS), (8, 1, LEAST_ROWS), (8, 4, 16), (256, 0, 512)],
)
def test_two_batches_shared_evenly(max_batch_rows: int, routers: int, expected: int) -> None:
    """A window is two batches, at least LEAST_ROWS, divided by the routers and rounded up."""
    assert window_rows(max_batch_rows, routers) == expected


def test_every_router_gets_something() -> None:
    """However many routers there are, each may send one row."""
    assert window_rows(1, 10_000) == 1
