import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import BundleError
from serving.runtimes.compiled.agreement import DisagreementError, Tolerance, check_agreement
from serving.runtimes.compiled.ensemble import CannotCompileError, Ensemble
from serving.runtimes.compiled.rows import generated_rows
from serving.runtimes.compiled.session import CompiledTrees
from serving.runtimes.compiled.timing import measure
from serving.runtimes.compiled.two_ways import Plan, TwoWays, two_ways
from tests.serving.runtimes.compiled.boosters import Array, ensemble, linear, native, rows, trained


def ways(booster: Any, **choices: Any) -> TwoWays:
    settings: dict[str, Any] = {"mode": "auto", "examples": None, "most_rows": 64, "threads": 1}
    reference = choices.pop("native", None) or native(booster)
    return two_ways("xgboost", reference, lambda: ensemble(booster), **(settings | choices))


def test_small_batches_are_compiled() -> None:
    """One row of a small model is faster on ONNX Runtime; the answers say so and are XGBoost's."""
    booster = trained()
    both = ways(booster, mode="force")
    assert both.plan == Plan("compiled", "onnxruntime for all rows", (0,))
    assert np.allclose(both(rows()[:1]), native(booster)(rows()[:1]), rtol=1e-5)
    assert both.answered_by == "onnxruntime"
    both.close()


def test_auto_measures() -> None:
    """Which one is faster is found out at load, within the sizes there can be."""
    assert ways(trained()).plan.state in ("compiled", "slower")


def test_off() -> None:
    """Nothing is compiled."""
    both = ways(trained(), mode="off")
    assert both.plan.state == "off"
    both(rows()[:1])
    assert both.answered_by == "xgboost"


def test_a_model_that_cannot_be_compiled_stays() -> None:
    """With the reason in its plan; forced, it is refused with the remedy."""
    reference = native(trained())
    both = ways(linear(), native=reference)
    assert both.plan == Plan("refused", "booster gblinear has no trees")
    assert np.array_equal(both(rows()), reference(rows()))
    with pytest.raises(BundleError, match=r"compile: cannot be compiled: booster gblinear.*compile: auto or off"):
        ways(linear(), native=reference, mode="force")


def test_a_model_that_differs_stays() -> None:
    """Another model's trees are found out, on generated rows or on the golden ones."""
    both = ways(trained(), native=native(trained("binary:logistic", 9)))
    assert both.plan.state == "differs"
    assert "384 rows differ" in both.plan.text
    reference = native(trained())
    special = np.full((1, 6), 77.125, np.float32)

    def odd(given: Array) -> Array:
        return reference(given) + np.float32((given == 77.125).all(axis=1)[:, None])

    assert ways(trained(), native=odd).plan.state in ("compiled", "slower")
    assert ways(trained(), native=odd, examples=special).plan.state == "differs"


def test_rows_of_another_width_are_native() -> None:
    """What XGBoost refuses stays its own error."""
    both = ways(trained(), mode="force")
    with pytest.raises(RuntimeError, match="columns"):
        both(np.zeros((1, 5), np.float32))


def test_a_fault_while_serving_turns_the_compiled_trees_off(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets its answer, and the log says what happened once."""
    booster = trained()
    both = ways(booster, mode="force")
    assert both._compiled is not None
    both._compiled.close()
    for _ in range(2):
        assert np.array_equal(both(rows()), native(booster)(rows()))
        assert both.answered_by == "xgboost"
    assert [record.message for record in caplog.records] == ["the compiled trees failed and are not used any more"]


def test_without_onnx_runtime_xgboost_works_as_before() -> None:
    """The package is not needed: the plan names it."""
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from tests.serving.runtimes.compiled.test_two_ways import trained, ways, rows\n"
        "both = ways(trained()); both(rows()); print(both.plan.state, both.plan.text, both.answered_by)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, cwd=Path.cwd()
    )
    assert result.stdout.startswith("refused onnxruntime cannot be imported")
    assert result.stdout.strip().endswith("xgboost")


def test_agreement_names_row_values_and_tolerance() -> None:
    """The reason is one that a person can check."""
    given = np.arange(6, dtype=np.float32).reshape(3, 2)
    with pytest.raises(DisagreementError, match=r"gives 2\.5 instead of 2 in a batch.*begins \[2\.0, 3\.0\]; 1 of 3"):
        check_agreement(
            lambda x: x[:, :1], lambda x: x[:, :1] + 0.5 * (x[:, :1] == 2), given, Tolerance(atol=1e-3, rtol=0)
        )
    with pytest.raises(DisagreementError, match=r"gives \[3, 2\] instead of \[3, 1\]"):
        check_agreement(lambda x: x[:, :1], lambda x: x, given, Tolerance(0, 0))
    with pytest.raises(DisagreementError, match="alone"):
        check_agreement(lambda x: x, lambda x: x if len(x) > 1 else x + 1, given, Tolerance(0, 0))


def test_generated_rows_hold_what_matters() -> None:
    """Thresholds and their neighbours, missing values, infinities, both zeros, far away values; repeatable."""
    trees = ensemble(trained())
    made = generated_rows(trees, 384, np.random.default_rng(1))
    assert np.array_equal(made, generated_rows(trees, 384, np.random.default_rng(1)), equal_nan=True)
    for feature, known in trees.thresholds().items():
        column = made[:, feature]
        below = np.nextafter(known, np.float32(-np.inf))
        assert np.isin(column, known).sum() > 20
        assert np.isin(column, below).sum() > 20
        assert np.isnan(column).any()
        assert np.isposinf(column).any()
        assert np.isneginf(column).any()
        assert np.signbit(column[column == 0]).any()
        assert (column[np.isfinite(column)] > known[-1]).any()
        assert np.isfinite(column[:128]).all()
    assert [str(value) for value in made[-4:, 0]] == ["nan", "inf", "-inf", "0.0"]


class Clock:
    """Time that passes only in runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def way(self, name: str, fixed_s: float, row_s: float) -> Any:
        def predict(given: Array) -> Array:
            self.runs.append((name, len(given)))
            self.now += fixed_s + row_s * len(given)
            return given

        return predict


def test_measuring_is_exact_where_nothing_disturbs() -> None:
    """Powers of two and the largest batch, both ways in turn."""
    clock = Clock()
    native_way, compiled_way = clock.way("native", 20e-6, 1e-6), clock.way("compiled", 5e-6, 2e-6)
    found = measure(native_way, compiled_way, np.zeros((3, 2), np.float32), 5, budget_s=0.15, clock=clock)
    assert [timing.rows for timing in found] == [1, 2, 4, 5]
    assert found[3].native_s == pytest.approx(25e-6)
    assert found[3].compiled_s == pytest.approx(15e-6)
    assert clock.runs[:6] == [("native", 1)] * 3 + [("compiled", 1)] * 3


def test_measuring_is_bounded() -> None:
    """A slow model is measured at few sizes; only the run under way goes past the budget."""
    clock = Clock()
    slow = clock.way("slow", 0.0, 0.02)
    found = measure(slow, slow, np.zeros((1, 2), np.float32), 4096, budget_s=0.15, clock=clock)
    assert [timing.rows for timing in found] == [1]
    assert clock.now <= 0.15 + 0.02 * 2
    clock = Clock()
    slower = clock.way("slower", 1.0, 0.0)
    assert len(measure(slower, slower, np.zeros((1, 2), np.float32), 8, budget_s=0.15, clock=clock)) == 1
    assert clock.now == 2.0


def test_onnx_runtime_may_refuse() -> None:
    """What it says becomes the reason."""
    trees = ensemble(trained())
    broken = Ensemble(**{name: getattr(trees, name) for name in Ensemble.__slots__} | {"left": trees.left + 10_000})
    with pytest.raises(CannotCompileError, match="ONNX Runtime does not take the model"):
        CompiledTrees(broken, threads=1)
