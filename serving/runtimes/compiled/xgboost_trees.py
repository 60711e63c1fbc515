"""XGBoost's trees as an `Ensemble`, from the model as `save_raw("ubj")` gives it.

Fields are those of XGBoost's published model schema (doc/model.schema). What is not certain to mean the same in ONNX
is refused: linear boosters, categorical splits, vector leaves, several targets, objectives not listed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from serving.runtimes.compiled import ubjson
from serving.runtimes.compiled.ensemble import CannotCompileError, Ensemble, Floats, Ints, Transform

MAX_BYTES: Final = 256 * 1024 * 1024
"""About four million nodes; reading one needs three times its size for a moment."""

_LOGISTIC, _IDENTITY, _EXP = Transform.LOGISTIC, Transform.IDENTITY, Transform.EXP
# Objective -> (from margins to outputs, from a margin to base_score). Checked with XGBoost 2.1 and 3.2; where another
# release differs, the comparison of answers finds out.
_OBJECTIVES: Final[dict[str, tuple[Transform, Transform]]] = {
    "binary:logistic": (_LOGISTIC, _LOGISTIC),
    "reg:logistic": (_LOGISTIC, _LOGISTIC),
    "binary:logitraw": (_IDENTITY, _IDENTITY),
    "binary:hinge": (Transform.POSITIVE, _IDENTITY),
    "multi:softprob": (Transform.SOFTMAX, _IDENTITY),
    "multi:softmax": (Transform.ARGMAX, _IDENTITY),
    "reg:squarederror": (_IDENTITY, _IDENTITY),
    "reg:squaredlogerror": (_IDENTITY, _IDENTITY),
    "reg:absoluteerror": (_IDENTITY, _IDENTITY),
    "reg:pseudohubererror": (_IDENTITY, _IDENTITY),
    "reg:quantileerror": (_IDENTITY, _IDENTITY),
    "reg:expectileerror": (_IDENTITY, _IDENTITY),
    "reg:gamma": (_EXP, _EXP),
    "reg:tweedie": (_EXP, _EXP),
    "count:poisson": (_EXP, _EXP),
    "survival:cox": (_EXP, _EXP),
    "survival:aft": (_EXP, _EXP),
    "rank:pairwise": (_IDENTITY, _IDENTITY),
    "rank:ndcg": (_IDENTITY, _IDENTITY),
    "rank:map": (_IDENTITY, _IDENTITY),
}


def ensemble_of(raw: bytes | bytearray, rounds: tuple[int, int]) -> Ensemble:
    """`raw` is the model as UBJ, `rounds` the iterations that predict, (0, 0) for all. Raises CannotCompileError."""
    if len(raw) > MAX_BYTES:
        raise CannotCompileError(f"the model has {len(raw)} bytes, more than {MAX_BYTES} are not compiled")
    try:
        return _ensemble(ubjson.read(raw)["learner"], rounds)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CannotCompileError(
            f"the model is not laid out as XGBoost documents: {type(error).__name__}: {error}"
        ) from error


def _ensemble(learner: Mapping[str, Any], rounds: tuple[int, int]) -> Ensemble:
    objective = learner["objective"]["name"]
    if objective not in _OBJECTIVES:
        raise CannotCompileError(f"objective {objective} is not compiled")
    transform, link = _OBJECTIVES[objective]
    sizes = learner["learner_model_param"]
    if int(sizes.get("num_target", 1)) > 1:
        raise CannotCompileError(f"{sizes['num_target']} targets are not compiled")
    columns = max(1, int(sizes["num_class"]))
    features = int(sizes["num_feature"])
    trees, groups, weights = _trees(learner["gradient_booster"], rounds, columns)
    base = _base(sizes["base_score"], columns, link)
    return _join(trees, weights, column=groups, features=features, base=base, transform=transform)


def _base(text: str, columns: int, link: Transform) -> Floats:
    """base_score, one number or a list in brackets, as margins."""
    scores = np.array([float(part) for part in text.strip("[]").split(",")], np.float32)
    if link is Transform.LOGISTIC:
        scores = -np.log((np.float32(1) / scores - np.float32(1)).astype(np.float64))
    elif link is Transform.EXP:
        scores = np.log(scores.astype(np.float64))
    return np.array(np.broadcast_to(scores, columns), np.float32)


def _trees(booster: Mapping[str, Any], rounds: tuple[int, int], columns: int) -> tuple[list[Any], Ints, Floats]:
    """The trees of these rounds with the column and the weight of each."""
    if booster["name"] not in ("gbtree", "dart"):
        raise CannotCompileError(f"booster {booster['name']} has no trees")
    model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    trees, groups = model["trees"], np.asarray(model["tree_info"], np.int64)
    weights = np.asarray(booster.get("weight_drop", np.ones(len(trees))), np.float32)
    begin, end = 0, len(trees)
    if rounds != (0, 0):
        bounds = model.get("iteration_indptr")
        if bounds is None:
            step = columns * int(model["gbtree_model_param"].get("num_parallel_tree", 1))
            bounds = range(0, len(trees) + 1, step)
        begin, end = int(bounds[rounds[0]]), int(bounds[rounds[1]])
    groups, weights = groups[begin:end], weights[begin:end]
    if len(groups) != end - begin or len(weights) != end - begin or (groups >= columns).any() or (groups < 0).any():
        raise ValueError("tree_info does not match the trees")
    return trees[begin:end], groups, weights


def _join(
    trees: Sequence[Mapping[str, Any]],
    weights: Floats,
    *,
    column: Ints,
    features: int,
    base: Floats,
    transform: Transform,
) -> Ensemble:
    parts: dict[str, list[Any]] = {
        name: [] for name in ("tree", "node", "feature", "threshold", "left", "right", "missing_left", "leaf")
    }
    for number, (tree, weight) in enumerate(zip(trees, weights, strict=True)):
        if int(tree["tree_param"].get("size_leaf_vector", 1) or 1) > 1:
            raise CannotCompileError("trees with a vector in each leaf are not compiled")
        if np.any(tree.get("split_type", 0)):
            raise CannotCompileError("categorical splits are not compiled")
        left, right = (np.asarray(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
        reached = _reached(left, right)
        # A leaf's value stands where a split has its threshold.
        values = np.asarray(tree["split_conditions"], np.float32)[reached]
        parts["tree"].append(np.full(len(reached), number, np.int64))
        # Numbered anew, since ONNX Runtime wants them without gaps; the last number stands for "no child".
        numbers = np.full(len(left) + 1, -1, np.int64)
        numbers[reached] = np.arange(len(reached))
        parts["node"].append(numbers[reached])
        parts["feature"].append(np.asarray(tree["split_indices"], np.int64)[reached])
        parts["threshold"].append(values)
        parts["left"].append(numbers[left[reached]])
        parts["right"].append(numbers[right[reached]])
        parts["missing_left"].append(np.asarray(tree["default_left"], np.bool_)[reached])
        parts["leaf"].append(values * weight)
    whole: dict[str, Any] = {name: np.concatenate(part) if part else np.empty(0) for name, part in parts.items()}
    is_leaf = whole["left"] < 0
    if not len(trees):
        raise CannotCompileError("the model has no trees")
    if not np.isfinite(whole["leaf"]).all():
        raise CannotCompileError("leaves that are no finite numbers are not compiled")
    if (whole["feature"][~is_leaf] >= features).any():
        raise ValueError(f"a split on a feature beyond {features}")
    return Ensemble(features=features, base=base, column=column, is_leaf=is_leaf, transform=transform, **whole)


def _reached(left: Ints, right: Ints) -> Ints:
    """Nodes that the root leads to, ascending: pruned ones stay in the file."""
    seen = np.zeros(len(left), np.bool_)
    frontier = np.zeros(1, np.int64)
    while len(frontier):
        if seen[frontier].any():
            raise ValueError("a tree's nodes form no tree")
        seen[frontier] = True
        children = np.concatenate((left[frontier], right[frontier]))
        frontier = children[children >= 0]
    return np.flatnonzero(seen)
