"""Which of two ways to run a batch is the faster one, by its rows.

Model: both ways were measured at a few sizes (the smallest time of several, since noise only adds). Between two sizes
times are taken to be linear, as a run costs `a + b * rows`; beyond the largest the last choice stays.

Hysteresis: the framework's own way answers unless the other is faster by more than `margin`, and walking up the sizes
a choice is kept until the other way is faster by more than `margin`. So two ways that are as good as equal do not
alternate with the noise of a measurement, and the ranges are few.

Not done: learning from the traffic. Measuring at load is repeatable, and a choice that moves under load would make two
answers of one model to one input differ from one minute to the next.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that a run of `rows` takes natively and compiled."""

    rows: int
    native_s: float
    compiled_s: float


Switches = tuple[int, ...]
"""Ascending numbers of rows from which on the answer changes; below the first one the native way is taken."""

NEVER: Switches = ()
ALWAYS: Switches = (0,)


def switches(timings: Sequence[Timing], *, margin: float = 0.1) -> Switches:
    """From timings in ascending order of rows; without any, NEVER."""
    found: list[int] = []
    compiled = False
    for index, timing in enumerate(timings):
        current, other = (timing.native_s, timing.compiled_s)[:: -1 if compiled else 1]
        if other < current * (1 - margin):
            found.append(_crossing(timings[index - 1], timing) if index else 0)
            compiled = not compiled
    return tuple(found)


def is_compiled(switches: Switches, rows: int) -> bool:
    return bisect_right(switches, rows) % 2 == 1


def ranges_text(switches: Switches, native: str, compiled: str) -> str:
    """For people: `onnxruntime for 1-118 rows, xgboost from 119`."""
    if not switches:
        return f"{native} for all rows"
    starts = list(switches) if switches[0] <= 1 else [1, *switches]
    parts = []
    for index, start in enumerate(starts):
        name = compiled if is_compiled(switches, start) else native
        first = max(1, start)
        if index + 1 < len(starts):
            parts.append(f"{name} for {first}-{starts[index + 1] - 1} rows")
        else:
            parts.append(f"{name} for all rows" if first == 1 else f"{name} from {first}")
    return ", ".join(parts)


def _crossing(before: Timing, after: Timing) -> int:
    """The first whole number of rows after `before` at which the lines have crossed, at most that of `after`."""
    ahead, behind = before.native_s - before.compiled_s, after.native_s - after.compiled_s
    if ahead * behind >= 0:
        return after.rows
    return max(before.rows + 1, ceil(before.rows + (after.rows - before.rows) * ahead / (ahead - behind)))
