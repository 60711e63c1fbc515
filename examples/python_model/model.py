"""A model of your own class, served by the `python` runtime. Copy this folder and change what `predict` does.

The worker makes one object, calls `load` once with the version folder, then `predict` with a batch at a time, from one
thread. This one is a linear classifier whose weights `examples/train.py` has fitted to the wine data and saved beside
this file; it needs nothing but NumPy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class WineClassifier:
    """`measurements` FP32 [rows, 13] to `cultivar` BYTES [rows, 1] and `probabilities` FP32 [rows, 3].

    `temperature` comes from `options` in model.yaml: below 1 the probabilities are sharper, above 1 flatter.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._weights: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._bias: NDArray[np.float32] = np.empty(0, np.float32)
        self._classes: NDArray[Any] = np.empty(0, dtype=object)

    def load(self, folder: Path) -> None:
        with np.load(folder / "weights.npz", allow_pickle=False) as saved:
            self._weights = saved["weights"]
            self._bias = saved["bias"]
            self._classes = np.array([name.encode() for name in saved["classes"].tolist()], dtype=object)

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        scores = (inputs["measurements"] @ self._weights + self._bias) / np.float32(self._temperature)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return {
            "cultivar": self._classes[scores.argmax(axis=1)].reshape(-1, 1),
            "probabilities": odds / odds.sum(axis=1, keepdims=True),
        }
