"""Triton's classification extension: the k best classes of every row, as texts `value:index[:label]`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def top_classes(values: NDArray[Any], count: int, labels: Sequence[str] = ()) -> NDArray[np.object_]:
    """[rows, ...] of numbers to [rows, min(count, classes)] of `bytes`, best first; equal values keep their order.

    All dimensions but the first are the classes. Values are written with six decimals, integers as they are.
    """
    flat = values.reshape(len(values), -1)
    # NaN sorts last in both directions, so ascending order of the negated (float) values is right for it too.
    keys = -flat.astype(np.float64) if flat.dtype.kind == "f" else -flat.astype(object)
    order = np.argsort(keys, axis=1, kind="stable")[:, :count]
    texts = np.empty(order.shape, dtype=object)
    for row, places in enumerate(order.tolist()):
        for rank, place in enumerate(places):
            texts[row, rank] = _text(flat[row, place], place, labels).encode()
    return texts


def _text(value: Any, place: int, labels: Sequence[str]) -> str:
    number = f"{value:f}" if isinstance(value, np.floating) else str(int(value))
    return f"{number}:{place}:{labels[place]}" if place < len(labels) else f"{number}:{place}"
