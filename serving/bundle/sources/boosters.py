"""XGBoost in memory: a Booster, or one of its scikit-learn-like wrappers."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving.bundle.sources.source import Array, Source
from serving.errors import BundleError

_FILE: Final = "model.ubj"
_LIBRARIES: Final = ("xgboost", "xgboost-cpu", "numpy")
# Objectives whose predict_proba is what the Booster gives, from the column on.
_PROBABILITY_COLUMNS: Final = {"binary:logistic": 1, "multi:softprob": 0}


def booster_source(model: Any) -> Source:
    """Raises BundleError: not fitted, or missing values that are not NaN."""
    booster = model
    if hasattr(model, "get_booster"):
        missing = getattr(model, "missing", math.nan)
        if not (isinstance(missing, float) and math.isnan(missing)):
            raise BundleError(
                f"was trained with missing={missing!r}, on the wire a missing value is NaN",
                field="model",
                remedy="put NaN where values are missing and train with missing=nan",
            )
        booster = _fitted(model)

    def write(folder: Path, file: str) -> None:
        booster.save_model(folder / (file or _FILE))

    return Source("xgboost", write, lambda examples: _predict(model, booster, examples), True, _LIBRARIES)


def _fitted(model: Any) -> Any:
    try:
        return model.get_booster()
    except Exception as error:  # scikit-learn's NotFittedError, where scikit-learn is installed
        raise BundleError(f"{type(model).__name__} is not fitted", field="model", remedy="call fit first") from error


def _predict(model: Any, booster: Any, examples: Any) -> Mapping[str, Array]:
    rows = np.asarray(examples, dtype=np.float32)
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if hasattr(model, "predict_proba") and objective in _PROBABILITY_COLUMNS:
        answer = model.predict_proba(rows, validate_features=False)[:, _PROBABILITY_COLUMNS[objective] :]
    elif hasattr(model, "get_booster") and not hasattr(model, "predict_proba"):
        answer = model.predict(rows, validate_features=False)
    else:
        best = booster.attr("best_iteration")
        rounds = (0, 0) if best is None else (0, int(best) + 1)
        answer = booster.inplace_predict(rows, iteration_range=rounds, validate_features=False)
    return {"": np.asarray(answer)}


def booster_from_file(path: Path) -> Source:
    """A saved Booster, .ubj or .json. Raises BundleError."""
    try:
        import xgboost
    except ImportError as error:
        raise BundleError("needs the package xgboost", field="model", remedy="install dodona[cpu]") from error
    try:
        return booster_source(xgboost.Booster(model_file=str(path)))
    except xgboost.core.XGBoostError as error:
        raise BundleError(
            f"{path.name} is no XGBoost model: {_cause(str(error))}", field="model", remedy="use save_model"
        ) from error


def _cause(text: str) -> str:
    """The first line of an XGBoostError, without time, source file and the check that failed."""
    line = next(filter(None, text.splitlines()), "it cannot be read")
    return re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", line).rpartition(" : ")[2].rstrip(".")
