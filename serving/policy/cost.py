"""What a run of `rows` rows will take: `duration = base + per_row * rows`, with its spread, learned while serving.

The model: a line fitted by least squares to past runs whose weight fades exponentially (half of it is gone after
about `1 / weight` runs), so that it follows a machine that gets busier. Before runs of two different sizes were seen
the line is flat; while runs are all of one size again, its slope stays as it was learned. Neither the slope nor the
answer is ever negative. The spread is the standard deviation of the runs around the line.

What it does not do: tell noise from change; a single slow run moves the answer by `weight` of its surprise.
"""

from math import inf, sqrt
from typing import Final

_FIRST_RUNS: Final = 4
"""Until so many runs were seen each counts equally, so that a slow first run is soon forgotten."""
_LEAST_VARIANCE: Final = 1e-3
"""Of the rows: where they vary less there is nothing to learn a slope from."""


class RunCost:
    __slots__ = (
        "_covariance",
        "_duration_variance",
        "_mean_rows",
        "_mean_s",
        "_seen",
        "_slope",
        "_variance",
        "_weight",
    )

    def __init__(self, weight: float = 0.1) -> None:
        self._weight = weight
        self._seen = 0
        self._mean_rows = self._mean_s = 0.0
        self._variance = self._covariance = self._duration_variance = self._slope = 0.0

    @property
    def seen(self) -> int:
        """Runs observed."""
        return self._seen

    @property
    def mean_rows(self) -> float:
        """Rows of a run as they were lately; 0 before the first."""
        return self._mean_rows

    @property
    def mean_s(self) -> float:
        """Seconds of a run as they were lately; 0 before the first."""
        return self._mean_s

    @property
    def per_row_s(self) -> float:
        """Seconds that one row adds."""
        return self._slope

    @property
    def base_s(self) -> float:
        """Seconds that any run takes, whatever its rows."""
        return max(0.0, self._mean_s - self._slope * self._mean_rows)

    @property
    def deviation_s(self) -> float:
        """Standard deviation of a run's seconds around the line."""
        explained = self._slope * self._covariance
        return sqrt(max(0.0, self._duration_variance - explained))

    def observe(self, rows: int, duration_s: float) -> None:
        self._seen += 1
        weight = max(self._weight, 1 / self._seen if self._seen <= _FIRST_RUNS else 0.0)
        rows_off, duration_off = rows - self._mean_rows, duration_s - self._mean_s
        self._mean_rows += weight * rows_off
        self._mean_s += weight * duration_off
        keep = 1 - weight
        self._variance = keep * (self._variance + weight * rows_off * rows_off)
        self._covariance = keep * (self._covariance + weight * rows_off * duration_off)
        self._duration_variance = keep * (self._duration_variance + weight * duration_off * duration_off)
        if self._variance > _LEAST_VARIANCE:
            self._slope = max(0.0, self._covariance / self._variance)

    def expected_s(self, rows: int) -> float:
        """0 before the first run."""
        return max(0.0, self._mean_s + self._slope * (rows - self._mean_rows))

    def rows_within(self, seconds: float) -> float:
        """Rows of the largest run expected to take no longer; `inf` where rows cost nothing, less than 1 where not
        even a single row fits."""
        if self.expected_s(1) > seconds:
            return 0.0
        slope = self._slope
        return self._mean_rows + (seconds - self._mean_s) / slope if slope > 0 else inf
