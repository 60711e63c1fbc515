"""Whether compiled trees give what the framework gives, within a stated tolerance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from serving.runtimes.compiled.ensemble import CannotCompileError, Ensemble, Floats, Transform

Predict = Callable[[Floats], Floats]
_ALONE = 32


class DisagreementError(CannotCompileError):
    """Names the first row that differs."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Outputs may differ by `atol + rtol * |native|`; NaN equals NaN, an infinity itself."""

    atol: float
    rtol: float


def tolerance_of(ensemble: Ensemble) -> Tolerance:
    """Classes exactly. Probabilities and exponentials to five digits, however small they are. Margins to five digits or
    four FP32 roundings of the largest sum that the trees can give, which is what is left where large leaves cancel."""
    match ensemble.transform:
        case Transform.ARGMAX | Transform.POSITIVE:
            return Tolerance(0.0, 0.0)
        case Transform.LOGISTIC | Transform.SOFTMAX | Transform.EXP:
            return Tolerance(1e-12, 1e-5)
        case Transform.IDENTITY:
            return Tolerance(4 * float(np.finfo(np.float32).eps) * ensemble.largest_margin(), 1e-5)


def check_agreement(native: Predict, compiled: Predict, rows: Floats, tolerance: Tolerance) -> None:
    """All rows in one batch, and the first `_ALONE` one by one, which is another path through either library. Raises
    DisagreementError."""
    expected = native(rows)
    _compare(rows, expected, compiled(rows), tolerance, "in a batch")
    alone = [compiled(rows[index : index + 1]) for index in range(min(_ALONE, len(rows)))]
    _compare(rows, expected[: len(alone)], np.concatenate(alone), tolerance, "alone")


def _compare(rows: Floats, expected: Floats, got: Floats, tolerance: Tolerance, how: str) -> None:
    if got.shape != expected.shape:
        raise DisagreementError(f"gives {list(got.shape)} instead of {list(expected.shape)}")
    close = np.isclose(got, expected, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
    if close.all():
        return
    row, column = (int(index) for index in np.argwhere(~close)[0])
    raise DisagreementError(
        f"gives {got[row, column]:.9g} instead of {expected[row, column]:.9g} {how} (tolerance {tolerance.atol:.3g}"
        f" + {tolerance.rtol:g} x |native|) for the row that begins {rows[row, :4].tolist()};"
        f" {int((~close).any(axis=1).sum())} of {len(expected)} rows differ"
    )
