"""Which replica gets the next request: the one with the most free window.

The model: every replica of a version grants a window of rows (protos/link.proto, Credit). Work is bound late, only when
some replica has room, so no replica queues more than its window and none idles while work waits in the router.

Invariants: a replica is never given more than its window, but for one request larger than the whole window, which an
empty replica takes alone (else it would wait for ever). Asked twice with the same snapshot it answers the same.

A window that one tenant has filled would make others wait for all of it, so it doubles for tenants that have less
there than their share of the double, or nothing at all (`has_room_beside`); none ever has more than the window. The
worker shares its runs between tenants (serving/policy/turns.py), so such a request is in the next one. A window of one
row holds nothing back, and is not exceeded.

What it does not do: weigh replicas by speed; a slow one frees its window later and so takes less by itself.
"""

from collections.abc import Sequence


def has_room(rows_in_flight: int, window_rows: int, rows: int) -> bool:
    return rows_in_flight + rows <= window_rows or (rows_in_flight == 0 and window_rows > 0)


def choose(seats: Sequence[tuple[int, int]], rows: int) -> int | None:
    """Index of the seat (rows in flight, window) to bind `rows` to; None if none has room."""
    best, best_free = None, -1.0
    for index, (in_flight, window) in enumerate(seats):
        if has_room(in_flight, window, rows):
            free = 1.0 - in_flight / window
            if free > best_free:
                best, best_free = index, free
    return best


def has_room_beside(own_rows: int, rows_in_flight: int, window_rows: int, share: float, rows: int) -> bool:
    """Whether a tenant with `own_rows` of the rows in flight may go beyond the window; `share` is its part, 0 to 1."""
    if window_rows < 2 or rows_in_flight + rows > 2 * window_rows:
        return False
    return own_rows == 0 or own_rows + rows <= min(1.0, 2 * share) * window_rows
