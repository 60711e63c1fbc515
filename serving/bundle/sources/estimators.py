"""scikit-learn in memory: any estimator that skl2onnx can convert, served by ONNX Runtime.

One array of examples becomes one FP32 input called `input`; a frame whose columns are not all numbers becomes one
input a column, of the column's own type. Probabilities are a plain tensor (zipmap off).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from warnings import catch_warnings, simplefilter

import numpy as np

from serving.bundle.sources.frames import is_frame, is_numeric_frame
from serving.bundle.sources.source import Array, Source
from serving.errors import BundleError

_FILE: Final = "model.onnx"
_LIBRARIES: Final = ("onnxruntime", "onnxruntime-gpu", "skl2onnx", "onnx", "scikit-learn", "numpy")
INPUT: Final = "input"


def estimator_source(model: Any, examples: Any) -> Source:
    """`examples`: golden inputs, which tell the types of the columns; None = FP32. Raises BundleError: skl2onnx is
    not installed or cannot convert the model."""
    try:
        import skl2onnx
        from sklearn.base import is_classifier
    except ImportError as error:
        raise BundleError(
            "a scikit-learn model is served as ONNX, which needs skl2onnx", field="model", remedy="install dodona[demo]"
        ) from error
    options = {"zipmap": False} if is_classifier(model) else None
    try:
        converted = skl2onnx.to_onnx(model, initial_types=_types(model, examples), options=options)
    except Exception as error:  # skl2onnx raises whatever its converters meet
        raise BundleError(
            f"skl2onnx cannot convert {type(model).__name__}: {error}",
            field="model",
            remedy="give golden_inputs of the right types, or serve it with framework python",
        ) from error
    serialised: bytes = converted.SerializeToString()

    def write(folder: Path, file: str) -> None:
        (folder / (file or _FILE)).write_bytes(serialised)

    return Source("onnx", write, lambda given: _predict(model, given), _takes_nan(model, examples), _LIBRARIES)


def _types(model: Any, examples: Any) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType

    if is_frame(examples) and not is_numeric_frame(examples):
        return [(str(name), _type_of(examples[name])) for name in examples.columns]
    if examples is not None and np.asarray(examples).dtype.kind in "OSU":
        return [(INPUT, _type_of(np.asarray(examples)))]
    features = getattr(model, "n_features_in_", None) if examples is None else np.asarray(examples).shape[1]
    if features is None:
        raise BundleError("does not say how many features it takes", field="model", remedy="give golden_inputs")
    return [(INPUT, FloatTensorType([None, int(features)]))]


def _type_of(column: Any) -> Any:
    from skl2onnx.common import data_types as types

    values = np.asarray(column)
    width = values.shape[1] if values.ndim == 2 else 1
    kinds = {"f": types.FloatTensorType, "i": types.Int64TensorType, "u": types.Int64TensorType}
    kind = types.BooleanTensorType if values.dtype.kind == "b" else kinds.get(values.dtype.kind, types.StringTensorType)
    return kind([None, width])


def _takes_nan(model: Any, examples: Any) -> bool:
    """Whether the estimator answers a row in which every number is missing, as those with an imputer in front and
    some trees do; all others refuse it, which the converted model does not."""
    if is_frame(examples):
        row = examples.iloc[:1].copy()
        for name in row.columns:
            if np.asarray(row[name]).dtype.kind == "f":
                row[name] = np.nan
    else:
        width = getattr(model, "n_features_in_", None) if examples is None else np.asarray(examples).shape[1]
        row = np.full((1, int(width or 1)), np.nan, np.float32)
    try:
        with catch_warnings():
            simplefilter("ignore")
            _predict(model, row)
    except Exception:  # whatever an estimator raises, it is a refusal
        return False
    return True


def _predict(model: Any, examples: Any) -> Mapping[str, Array]:
    """Under the names that skl2onnx gives the outputs; those that the conversion did not make are not compared."""
    given = examples if is_frame(examples) else np.asarray(examples)
    if not is_frame(given) and given.dtype.kind in "fiu":
        given = given.astype(np.float32)
    answers: dict[str, Array] = {}
    if hasattr(model, "predict"):
        answers["label"] = answers["variable"] = np.asarray(model.predict(given))
    elif hasattr(model, "transform"):
        answers["variable"] = np.asarray(model.transform(given))
    if hasattr(model, "predict_proba"):
        answers["probabilities"] = np.asarray(model.predict_proba(given))
    return answers
