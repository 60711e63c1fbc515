"""Data frames, without importing the library that made them."""

from typing import Any

import numpy as np


def is_frame(value: Any) -> bool:
    """Whether it is a table with named columns, as pandas has them."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "iloc")


def is_numeric_frame(value: Any) -> bool:
    return is_frame(value) and all(dtype.kind in "fiub" for dtype in map(_numpy_dtype, value.dtypes))


def _numpy_dtype(dtype: Any) -> Any:
    return getattr(dtype, "numpy_dtype", dtype)


def spread_rows(value: Any, rows: int) -> Any:
    """At most `rows` examples of an array, a frame, or a mapping of arrays, evenly spread over all of them: data sets
    are often sorted by what is to be predicted."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: spread_rows(array, rows) for name, array in value.items()}
    if not is_frame(value):
        value = np.asarray(value)
        if value.ndim == 0:
            return value
    count = len(value)
    chosen = np.unique(np.linspace(0, max(count - 1, 0), min(count, rows)).astype(int))
    return value.iloc[chosen] if is_frame(value) else value[chosen]
