"""How many rows a router may have at this worker at once: enough to keep it busy, and no more.

What waits here can no longer go to another replica, so late binding wants a small window; a runtime that idles while
the next frame travels wants a large one. The model is the version's cost line `duration = base + per_row * rows` and
the link's round trip:

- The useful batch is the smallest whose rows cost at most a twentieth more than those of the largest one allowed:
  larger ones gain nothing, smaller ones waste the fixed cost. A model whose rows cost the same in any batch has one
  of 1.
- One useful batch is the least window. A second one, to start on while the results of the first travel, is granted
  where it takes no longer than `PREFETCH_S`, or where the way there and back would idle the runtime for more than a
  fiftieth of its time (Little's law: rows in flight = rate x round trip). That way is the link's round trip, measured
  with an empty frame, and `WAY_PER_ROW_S` for each row of the batch: its answer is written and read, the caller is
  told, the next request is read and written.
- Rows that are done within `LINGER_S` cost late binding nothing, so a fast model gets as many of them, which keeps
  frames large and few.

Before the first run nothing is known: two batches of the size allowed. Routers share the window evenly.

What it does not do: know what other models on this machine cost, or foresee requests of many rows (a request larger
than the window goes alone to an empty replica, router/policy/binding.py).
"""

from math import ceil
from typing import Final

from serving.policy.cost import RunCost

LEAST_ROWS: Final = 64
"""A fast model may have so many rows here even where its batches are smaller."""
LINGER_S: Final = 0.005
"""Work that the window may hold in any case, seconds."""
PREFETCH_S: Final = 0.025
"""A second batch that takes no longer may always wait here, seconds."""
WAY_PER_ROW_S: Final = 50e-6
"""Of a row's answer and the next row's request, seconds. 140 us were measured with one row a request over gRPC, caller
included (docs/decisions/0021-long-runs.md); requests of many rows cost less."""
_GAIN: Final = 1.05
_LONG_GAIN: Final = 1.025
"""Nearer to the cheapest than the window has to be: a run that is cut costs throughput, a window does not."""
_IDLE_SHARE: Final = 0.02


def window_rows(max_batch_rows: int, routers: int, cost: RunCost, round_trip_s: float = 0.0) -> int:
    """Rows of one router's window; at least 1. `round_trip_s` 0 = not measured yet."""
    return max(1, -(-_whole_window(max_batch_rows, cost, round_trip_s) // max(1, routers)))


def useful_batch_rows(max_batch_rows: int, cost: RunCost, gain: float = _GAIN) -> int:
    """The smallest batch whose rows are nearly as cheap as those of the largest: at most `gain` times as dear."""
    if not cost.seen:
        return max_batch_rows
    per_row_s, base_s = cost.per_row_s, cost.base_s
    spare_s = gain * (base_s + per_row_s * max_batch_rows) / max_batch_rows - per_row_s
    if spare_s * max_batch_rows <= base_s:
        return max_batch_rows
    return max(1, min(max_batch_rows, ceil(base_s / spare_s)))


def overlapping_batch_rows(max_batch_rows: int, cost: RunCost) -> int:
    """Rows of a run at most: more would be hardly cheaper, and a run that takes all there is leaves the runtime idle
    while its answers travel and the next requests come. Runs of up to `PREFETCH_S` are not bounded."""
    if cost.expected_s(max_batch_rows) <= PREFETCH_S:
        return max_batch_rows
    return max(useful_batch_rows(max_batch_rows, cost, _LONG_GAIN), int(cost.rows_within(PREFETCH_S)))


def _whole_window(max_batch_rows: int, cost: RunCost, round_trip_s: float) -> int:
    batch_rows = useful_batch_rows(max_batch_rows, cost)
    if not cost.seen:
        return 2 * batch_rows
    run_s = cost.expected_s(batch_rows)
    way_s = round_trip_s + batch_rows * WAY_PER_ROW_S
    idles = run_s <= PREFETCH_S or not round_trip_s or way_s > _IDLE_SHARE * run_s
    busy_rows = batch_rows * (2 if idles else 1)
    per_row_s = run_s / batch_rows
    most_rows = max(LEAST_ROWS, 2 * max_batch_rows)
    lingering_rows = int(LINGER_S / per_row_s) if per_row_s * most_rows > LINGER_S else most_rows
    return max(busy_rows, min(lingering_rows, most_rows))
