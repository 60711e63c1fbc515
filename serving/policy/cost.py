"""What a run of `rows` rows will take: `duration = base + per_row * rows`, learned while serving.

The model: a line fitted by least squares to past runs whose weight fades exponentially (half of it is gone after
about `1 / weight` runs), so that it follows a machine that gets busier. Before runs of two different sizes were seen
the line is flat. Neither the slope nor the answer is ever negative.

What it does not do: tell noise from change; a single slow run moves the answer by `weight` of its surprise.
"""

from typing import Final

_FIRST_RUNS: Final = 4
"""Until so many runs were seen each counts equally, so that a slow first run is soon forgotten."""


class RunCost:
    __slots__ = ("_covariance", "_mean_rows", "_mean_s", "_seen", "_variance", "_weight")

    def __init__(self, weight: float = 0.1) -> None:
        self._weight = weight
        self._seen = 0
        self._mean_rows = self._mean_s = 0.0
        self._variance = self._covariance = 0.0

    @property
    def seen(self) -> int:
        """Runs observed."""
        return self._seen

    def observe(self, rows: int, duration_s: float) -> None:
        self._seen += 1
        weight = max(self._weight, 1 / self._seen if self._seen <= _FIRST_RUNS else 0.0)
        rows_off, duration_off = rows - self._mean_rows, duration_s - self._mean_s
        self._mean_rows += weight * rows_off
        self._mean_s += weight * duration_off
        keep = 1 - weight
        self._variance = keep * (self._variance + weight * rows_off * rows_off)
        self._covariance = keep * (self._covariance + weight * rows_off * duration_off)

    def expected_s(self, rows: int) -> float:
        """0 before the first run."""
        slope = max(0.0, self._covariance / self._variance) if self._variance > 1e-9 else 0.0
        return max(0.0, self._mean_s + slope * (rows - self._mean_rows))
