"""How long a run takes natively and compiled, by its rows. Bounded in time."""

from collections.abc import Callable

import numpy as np

from serving.policy.fastest import Timing
from serving.runtimes.compiled.agreement import Predict
from serving.runtimes.compiled.ensemble import Floats

_ROUNDS = 8
_CALLS = 3
_MOST_ROWS = 8192
_MOST_BYTES = 16 * 1024 * 1024


def measure(
    native: Predict, compiled: Predict, rows: Floats, most_rows: int, *, budget_s: float, clock: Callable[[], float]
) -> list[Timing]:
    """Powers of two up to `most_rows` (at most `_MOST_ROWS` of `_MOST_BYTES`), both ways in turn in every round, so
    that a slow moment harms both; the smallest time counts. Ends after `_ROUNDS` rounds or with the first run past
    `budget_s` seconds; sizes that the first round does not reach in half of them are left out."""
    begin = clock()
    best: dict[int, list[float]] = {}
    most_rows = max(1, min(most_rows, _MOST_ROWS, _MOST_BYTES // max(1, rows[0].nbytes)))
    sizes = [size for size in (2**power for power in range(21)) if size < most_rows] + [most_rows]
    for number in range(_ROUNDS):
        for size in sizes:
            if best and clock() - begin > (budget_s / 2 if number == 0 else budget_s):
                break
            batch = np.ascontiguousarray(np.resize(rows, (size, rows.shape[1])))
            known = best.setdefault(size, [np.inf, np.inf])
            for way, predict in enumerate((native, compiled)):
                known[way] = min(known[way], _fastest(predict, batch, begin + budget_s, clock))
        sizes = sorted(best)
    return [Timing(size, *best[size]) for size in sorted(best)]


def _fastest(predict: Predict, batch: Floats, until: float, clock: Callable[[], float]) -> float:
    best = float(np.inf)
    for _ in range(_CALLS):
        begin = clock()
        predict(batch)
        end = clock()
        best = min(best, end - begin)
        if end > until:
            break
    return best
