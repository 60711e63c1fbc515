"""How many rows a router may have at this worker at once.

Two batches: one runs while the next is on its way, so the runtime never waits for the router, and no more, because
what waits here can no longer go to another replica. Small batches get a floor, else the round trip would starve them.
Routers share the window evenly.
"""

from typing import Final

LEAST_ROWS: Final = 64


def window_rows(max_batch_rows: int, routers: int) -> int:
    """Rows of one router's window; at least 1."""
    whole = max(LEAST_ROWS, 2 * max_batch_rows)
    return max(1, -(-whole // max(1, routers)))
