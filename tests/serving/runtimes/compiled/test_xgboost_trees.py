"""Compiled XGBoost models against XGBoost."""

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.runtimes.compiled.agreement import check_agreement, tolerance_of
from serving.runtimes.compiled.ensemble import CannotCompileError, Transform
from serving.runtimes.compiled.rows import generated_rows
from serving.runtimes.compiled.session import CompiledTrees
from serving.runtimes.compiled.xgboost_trees import ensemble_of
from tests.serving.runtimes.compiled.boosters import (
    FEATURES,
    OBJECTIVES,
    Array,
    ensemble,
    linear,
    native,
    rows,
    trained,
)


def assert_equal(booster: Any, given_rows: Array, rounds: tuple[int, int] = (0, 0), *, threads: int = 1) -> None:
    """Within the tolerance on every row; bit for bit where outputs are sums of leaves."""
    trees = ensemble(booster, rounds)
    compiled, reference = CompiledTrees(trees, threads=threads), native(booster, rounds)
    check_agreement(reference, compiled, given_rows, tolerance_of(trees))
    if trees.transform is Transform.IDENTITY and threads == 1 and not trees.base.any():
        assert np.array_equal(compiled(given_rows), reference(given_rows))


def hard(booster: Any, count: int = 400) -> Array:
    return np.concatenate((rows(), generated_rows(ensemble(booster), count, np.random.default_rng(0))))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective(objective: str) -> None:
    """Rows of the training set and generated ones, missing values and infinities included."""
    booster = trained(objective)
    assert_equal(booster, hard(booster))


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "reg:squarederror"])
@pytest.mark.parametrize(
    "choice",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"base_score": 0.125},
        {"max_depth": 1},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 64},
        {"tree_method": "approx", "gamma": 1.0},
        {"tree_method": "exact", "gamma": 2.0, "max_depth": 8},
        {"eta": 1.0, "lambda": 0.0},
    ],
    ids=str,
)
def test_every_kind_of_tree(objective: str, choice: dict[str, Any]) -> None:
    """Dropped-out, parallel, stumps, unbalanced, pruned, and with a base score of one's own."""
    booster = trained(objective, 6, **choice)
    assert_equal(booster, hard(booster))


def test_deep_trees() -> None:
    """Trees as deep as 600 different rows make them."""
    booster = trained("reg:squarederror", 3, max_depth=40, min_child_weight=0, reg_lambda=0)
    assert_equal(booster, hard(booster, 2000))


def test_trees_of_one_leaf() -> None:
    """Trees in which nothing was worth a split, alone and between others."""
    for objective in ("binary:logistic", "multi:softprob", "reg:squarederror"):
        nothing = trained(objective, 3, gamma=1e9)
        assert ensemble(nothing).is_leaf.all()
        assert_equal(nothing, rows())
    assert_equal(xgboost.train({"gamma": 8.0, "nthread": 1}, xgboost.DMatrix(rows(), rows()[:, -1] > 1), 30), rows())


def test_pruned_trees() -> None:
    """Nodes that pruning left in the file are passed over, and the others numbered without gaps."""
    booster = trained("binary:logistic", 1, tree_method="exact", gamma=5.0, max_depth=6, subsample=0.7)
    assert '"num_deleted":"0"' not in booster.save_raw("json").decode().replace(" ", "")
    trees = ensemble(booster)
    assert trees.node.tolist() == list(range(len(trees.node)))
    assert_equal(booster, hard(booster))


def test_values_at_thresholds() -> None:
    """At a threshold a row goes right, at the FP32 number below it left, in both runtimes."""
    edge = np.float32(1) / np.float32(3)
    values = np.array([[np.nextafter(edge, np.float32(0))], [edge]], np.float32).repeat(20, 0)
    booster = xgboost.train(
        {"tree_method": "exact", "max_depth": 1, "nthread": 1}, xgboost.DMatrix(values, [0] * 20 + [1] * 20), 1
    )
    trees = ensemble(booster)
    compiled = CompiledTrees(trees, threads=1)
    threshold = trees.thresholds()[0][0]
    around = np.array([np.nextafter(threshold, np.float32(0)), threshold], np.float32)[:, None]
    low, high = compiled(around)[:, 0]
    assert low < high
    assert np.array_equal(compiled(around), native(booster)(around))


def test_missing_values_take_their_own_way() -> None:
    """Both default directions occur, and both are followed."""
    booster = trained(rounds := "binary:logistic", 20)
    trees = ensemble(booster)
    splits = ~trees.is_leaf
    assert trees.missing_left[splits].any(), rounds
    assert not trees.missing_left[splits].all()
    nothing = np.full((3, FEATURES), np.nan, np.float32)
    assert_equal(booster, np.concatenate((nothing, np.where(np.eye(FEATURES) > 0, np.nan, 0).astype(np.float32))))


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "multi:softmax", "binary:hinge"])
def test_several_threads(objective: str) -> None:
    """Threads add up parts of the sums; classes are the same all the same."""
    booster = trained(objective, 120)
    assert_equal(booster, hard(booster), threads=2)


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
@pytest.mark.parametrize("choice", [{}, {"booster": "dart", "rate_drop": 0.5}, {"num_parallel_tree": 2}], ids=str)
def test_rounds(objective: str, choice: dict[str, Any]) -> None:
    """The best iteration of early stopping counts rounds, not trees."""
    booster = trained(objective, 6, **choice)
    assert_equal(booster, rows(), (0, 4))
    assert ensemble(booster, (0, 4)).column.size * 6 == ensemble(booster).column.size * 4


def test_large_margins() -> None:
    """Where exp overflows, XGBoost's own limits are kept."""
    for objective, eta in (("binary:logistic", 200.0), ("count:poisson", 20.0)):
        booster = trained(objective, 3, eta=eta, max_delta_step=0.0)
        assert ensemble(booster).largest_margin() > 90
        assert_equal(booster, rows())


def test_small_probabilities_keep_their_digits() -> None:
    """Rare events: five digits of a probability of a millionth."""
    booster = trained("binary:logistic", 10, base_score=1e-6, eta=0.1)
    probabilities = native(booster)(rows())
    assert probabilities.min() < 1e-5
    assert_equal(booster, rows())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    objective=st.sampled_from(["binary:logistic", "multi:softprob", "multi:softmax", "reg:squarederror", "rank:ndcg"]),
    depth=st.integers(1, 8),
    rounds=st.integers(1, 12),
    eta=st.floats(0.01, 3),
    gamma=st.sampled_from([0.0, 0.5, 5.0]),
    method=st.sampled_from(["hist", "exact", "approx"]),
    seed=st.integers(0, 2**16),
)
def test_random_ensembles(
    objective: str, depth: int, rounds: int, eta: float, gamma: float, method: str, seed: int
) -> None:
    """Compiled equals native on every generated row, whatever the ensemble."""
    booster = trained(
        objective, rounds, max_depth=depth, eta=eta, gamma=gamma, tree_method=method, seed=seed, subsample=0.7
    )
    trees = ensemble(booster)
    assert_equal(booster, generated_rows(trees, 150, np.random.default_rng(seed)))


def test_what_is_refused() -> None:
    """Linear boosters, categorical splits, several targets and unknown objectives: each with its reason."""
    pair = np.stack((rows()[:, 0], rows()[:, 1]), 1)
    several = xgboost.DMatrix(rows(), np.nan_to_num(pair))
    categories = np.random.default_rng(0).integers(0, 5, (200, 1)).astype(np.float32)
    categorical = xgboost.DMatrix(categories, categories[:, 0] % 2, feature_types=["c"], enable_categorical=True)
    refused = {
        "booster gblinear has no trees": linear(),
        "2 targets": xgboost.train({"nthread": 1}, several, 2),
        "targets are not compiled|a vector in each leaf": xgboost.train(
            {"nthread": 1, "multi_strategy": "multi_output_tree", "tree_method": "hist"}, several, 2
        ),
        "categorical splits": xgboost.train({"nthread": 1, "max_cat_to_onehot": 1}, categorical, 2),
    }
    for reason, booster in refused.items():
        with pytest.raises(CannotCompileError, match=reason):
            ensemble(booster)
    renamed = bytes(trained().save_raw("ubj")).replace(b"binary:logistic", b"binary:mystical")
    with pytest.raises(CannotCompileError, match="objective binary:mystical is not compiled"):
        ensemble_of(renamed, (0, 0))


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"Z", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{}}"])
def test_what_is_no_model(content: bytes) -> None:
    """Anything else is refused, never a crash."""
    with pytest.raises(CannotCompileError, match="not laid out as XGBoost documents"):
        ensemble_of(content, (0, 0))
