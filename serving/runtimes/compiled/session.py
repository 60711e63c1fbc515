"""An `Ensemble` on ONNX Runtime."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from serving.runtimes.compiled.ensemble import CannotCompileError, Ensemble, Floats, Transform
from serving.runtimes.compiled.onnx_trees import INPUT, OUTPUT, onnx_model

_LARGEST_EXPONENT: Final = np.float32(88.7)
"""exp of more is no FP32 number; XGBoost's sigmoid stops there too."""


class CompiledTrees:
    """Calls take FP32 [rows, features] and give FP32 [rows, columns]. Raises what ONNX Runtime raises."""

    __slots__ = ("_session", "_transform", "features")

    def __init__(self, ensemble: Ensemble, *, threads: int) -> None:
        """Raises CannotCompileError: no ONNX Runtime, or it does not take the model."""
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise CannotCompileError(f"onnxruntime cannot be imported ({error})") from error
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        # Where a tie decides (argmax), sums must be in one order: several threads add up parts.
        exact = ensemble.transform in (Transform.ARGMAX, Transform.POSITIVE)
        settings.intra_op_num_threads = 1 if exact else threads
        settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(
                onnx_model(ensemble), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no base class
            raise CannotCompileError(f"ONNX Runtime does not take the model: {error}") from error
        self._transform = _transform(ensemble)
        self.features = ensemble.features

    def __call__(self, rows: Floats) -> Floats:
        return self._transform(self._session.run(_OUTPUTS, {INPUT: rows})[0])

    def close(self) -> None:
        self._session = None


_OUTPUTS: Final = [OUTPUT]


def _transform(ensemble: Ensemble) -> Callable[[Floats], Floats]:
    """In place where it can be: the margins are ours."""
    bounded = ensemble.largest_margin() < _LARGEST_EXPONENT
    match ensemble.transform:
        case Transform.LOGISTIC:
            return _logistic if bounded else _wide_logistic
        case Transform.EXP:
            return _exp if bounded else _wide_exp
        case Transform.ARGMAX:
            return lambda margins: np.argmax(margins, axis=1, keepdims=True).astype(np.float32)
        case Transform.POSITIVE:
            return lambda margins: (margins > 0).astype(np.float32)
        case Transform.IDENTITY | Transform.SOFTMAX:
            return lambda margins: margins


# ONNX Runtime's own LOGISTIC gives 1 - p below 0: absolutely right, but of a probability of 1e-5 only two digits are.
# exp in double precision, rounded, is what the C library's expf gives, so the result is XGBoost's to the bit; NumPy's
# own FP32 exp is not.
def _logistic(margins: Floats) -> Floats:
    powers = np.exp(np.negative(margins, out=margins), dtype=np.float64).astype(np.float32)
    powers += 1
    return np.reciprocal(powers, out=powers)


def _wide_logistic(margins: Floats) -> Floats:
    np.maximum(margins, -_LARGEST_EXPONENT, out=margins)
    return _logistic(margins)


def _exp(margins: Floats) -> Floats:
    return np.exp(margins, dtype=np.float64).astype(np.float32)


def _wide_exp(margins: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return _exp(margins)
