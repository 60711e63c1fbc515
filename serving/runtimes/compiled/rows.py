"""Rows on which two runs of one ensemble would differ if they ever did."""

from typing import Any, Final

import numpy as np

from serving.runtimes.compiled.ensemble import Ensemble, Floats

_ORDINARY: Final = ("inside", "at", "below", "above")
_EVERY: Final = (*_ORDINARY, "far", "missing", "infinite", "zero")


def generated_rows(ensemble: Ensemble, count: int, random: np.random.Generator) -> Floats:
    """FP32 [count, features], count >= 8. A third has only values within the thresholds of its feature, exactly at one
    or the next FP32 number to either side, so that deep nodes are reached; the others also have values far outside,
    NaN, infinities and zeros of both signs; the last four rows are all NaN, infinite either way, and zero."""
    rows = np.empty((count, ensemble.features), np.float32)
    thresholds = ensemble.thresholds()
    third = count // 3
    for feature in range(ensemble.features):
        known = thresholds.get(feature, np.zeros(1, np.float32))
        rows[:third, feature] = _values(known, third, _ORDINARY, random)
        rows[third:, feature] = _values(known, count - third, _EVERY, random)
    rows[-4:] = np.array([[np.nan], [np.inf], [-np.inf], [0]], np.float32)
    return rows


def _values(thresholds: Floats, count: int, kinds: tuple[str, ...], random: np.random.Generator) -> Floats:
    picked = thresholds[random.integers(len(thresholds), size=count)]
    low, high = float(thresholds[0]), float(thresholds[-1])
    span = (high - low) or max(1.0, abs(high))
    infinite = np.float32(np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        choices: dict[str, Any] = {
            "inside": random.uniform(low, low + span, count),
            "at": picked,
            "below": np.nextafter(picked, -infinite),
            "above": np.nextafter(picked, infinite),
            "far": random.uniform(low - 100 * span, high + 100 * span, count),
            "missing": np.full(count, np.nan),
            "infinite": random.choice([-np.inf, np.inf], count),
            "zero": random.choice([-0.0, 0.0], count),
        }
        table = np.stack([np.asarray(choices[kind], np.float32) for kind in kinds])
    return np.asarray(table[random.integers(len(kinds), size=count), np.arange(count)])
