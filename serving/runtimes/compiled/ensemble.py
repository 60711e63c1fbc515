"""A tree ensemble as plain arrays, whatever framework it came from.

Margins of a row are `base[k] + sum of leaf values of the trees of column k`, added in FP32 in the order of the trees;
`transform` makes outputs of margins. At a split a row goes left if `x < threshold` (FP32), and if x is NaN where
`missing_left` says so.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class CannotCompileError(Exception):
    """The model stays with its framework; the message says why."""


class Transform(Enum):
    """From margins [rows, columns] to outputs."""

    IDENTITY = "identity"
    LOGISTIC = "logistic"
    SOFTMAX = "softmax"
    ARGMAX = "argmax"
    EXP = "exp"
    POSITIVE = "positive"
    """1 where the margin is above 0, else 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Nodes of all trees one after another; `tree`, `node` (its number within the tree, 0 is the root), `left` and
    `right` (numbers within the tree) are arrays with an element a node. `column[t]` is the output of tree t."""

    features: int
    base: Floats
    column: Ints
    tree: Ints
    node: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: Flags
    is_leaf: Flags
    leaf: Floats
    transform: Transform

    @property
    def columns(self) -> int:
        return len(self.base)

    def largest_margin(self) -> float:
        """A bound of the absolute value of every margin and of every sum on the way to it."""
        most = np.zeros(len(self.column))
        np.maximum.at(most, self.tree[self.is_leaf], np.abs(self.leaf[self.is_leaf]).astype(np.float64))
        sums = np.abs(self.base).astype(np.float64)
        np.add.at(sums, self.column, most)
        return float(sums.max(initial=0.0))

    def thresholds(self) -> dict[int, Floats]:
        """Feature -> its different thresholds, ascending."""
        splits = ~self.is_leaf
        feature, threshold = self.feature[splits], self.threshold[splits]
        order = np.argsort(feature, kind="stable")
        names, starts = np.unique(feature[order], return_index=True)
        parts: list[Any] = np.split(threshold[order], starts[1:])
        return {int(name): np.unique(part) for name, part in zip(names, parts, strict=False)}
