"""XGBoost models of every kind that is compiled, trained in a moment, and the way to run them natively."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from serving.runtimes.compiled.ensemble import Ensemble
from serving.runtimes.compiled.xgboost_trees import ensemble_of
from serving.runtimes.xgboost_dense import DensePredictor

Array = NDArray[Any]
FEATURES = 6

OBJECTIVES = (
    "binary:logistic",
    "binary:logitraw",
    "binary:hinge",
    "multi:softprob",
    "multi:softmax",
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:gamma",
    "reg:tweedie",
    "count:poisson",
    "survival:cox",
    "survival:aft",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
)


@cache
def rows() -> Array:
    """600 rows of FEATURES values, FP32, a tenth of them missing; the last feature has few different values."""
    random = np.random.default_rng(3)
    values = random.normal(size=(600, FEATURES)).astype(np.float32)
    values[:, -1] = random.integers(0, 4, 600)
    values[random.random(values.shape) < 0.1] = np.nan
    return values


def trained(objective: str = "binary:logistic", rounds: int = 8, /, **settings: Any) -> Any:
    """A booster on one thread. Settings are XGBoost's; one that is None is left out."""
    known = np.nan_to_num(rows())
    target = known[:, 0] + known[:, 1] * known[:, 2] + 0.1 * known[:, -1]
    given: dict[str, Any] = {"objective": objective, "max_depth": 4, "nthread": 1, "seed": 1}
    if objective.startswith("multi:"):
        given["num_class"] = 3
        target = np.digitize(target, [-0.5, 0.5])
    elif objective.startswith(("binary:", "rank:", "reg:logistic")):
        target = target > 0
    elif objective.startswith(("count:", "reg:gamma", "reg:tweedie", "survival:", "reg:squaredlog")):
        target = np.abs(target) + 0.1
    if objective == "reg:quantileerror":
        given["quantile_alpha"] = 0.3
    matrix = xgboost.DMatrix(rows(), np.asarray(target, np.float32))
    if objective.startswith("rank:"):
        matrix.set_group([100] * 6)
    if objective == "survival:aft":
        matrix.set_float_info("label_lower_bound", target)
        matrix.set_float_info("label_upper_bound", target * 2)
    chosen = {name: value for name, value in (given | settings).items() if value is not None}
    return xgboost.train(chosen, matrix, rounds)


def linear() -> Any:
    return trained("binary:logistic", 2, booster="gblinear", max_depth=None)


def ensemble(booster: Any, rounds: tuple[int, int] = (0, 0)) -> Ensemble:
    return ensemble_of(booster.save_raw("ubj"), rounds)


def native(booster: Any, rounds: tuple[int, int] = (0, 0)) -> Callable[[Array], Array]:
    """FP32 rows to FP32 [rows, columns], as the worker's runtime runs it."""
    return DensePredictor(booster, rounds)
