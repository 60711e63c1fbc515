from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from serving.bundle.golden import Golden
from serving.bundle.golden_file import write_golden
from serving.errors import BundleError
from serving.runtimes.xgboost import XgboostRuntime, choose_device
from serving.runtimes.xgboost_dense import DensePredictor
from serving.spec import Signature, TensorSpec
from tests.serving.runtimes.models import booster, booster_file, breast_cancer, bundle


def load(folder: Path, files: dict[str, bytes], **values: Any) -> tuple[XgboostRuntime, Signature]:
    runtime = XgboostRuntime()
    return runtime, runtime.load(bundle(folder, files, framework="xgboost", **values))


@pytest.mark.parametrize(("file", "raw_format"), [("model.ubj", "ubj"), ("model.json", "json")])
def test_a_booster_predicts_as_before(tmp_path: Path, file: str, raw_format: str) -> None:
    """Both file formats give the Booster's own probabilities, missing values included."""
    runtime, signature = load(tmp_path, {file: booster_file(raw_format=raw_format)})
    assert signature == Signature((TensorSpec("input", "FP32", (30,)),), (TensorSpec("probability", "FP32", (1,)),))
    rows = breast_cancer()[0][:40].copy()
    rows[::3, ::2] = np.nan
    expected = booster().predict(xgboost.DMatrix(rows))
    assert np.array_equal(runtime.predict({"input": rows})["probability"], expected.reshape(-1, 1))
    assert runtime.device == "cpu"
    runtime.close()


@pytest.mark.parametrize(
    ("objective", "output", "columns"),
    [
        ("binary:logistic", "probability", 1),
        ("multi:softprob", "probability", 3),
        ("multi:softmax", "prediction", 1),
        ("reg:squarederror", "prediction", 1),
        ("binary:logitraw", "prediction", 1),
    ],
)
def test_the_objective_names_the_output(tmp_path: Path, objective: str, output: str, columns: int) -> None:
    """Probabilities are called so; everything else is a prediction; multi:softprob has a column a class."""
    runtime, signature = load(tmp_path, {"model.ubj": booster_file(objective)})
    assert signature.outputs == (TensorSpec(output, "FP32", (columns,)),)
    rows = breast_cancer()[0][:5]
    expected = booster(objective).predict(xgboost.DMatrix(rows)).reshape(5, -1)
    assert np.allclose(runtime.predict({"input": rows})[output], expected, rtol=1e-5, atol=0)


def test_trees_are_compiled_unless_told_not_to(tmp_path: Path) -> None:
    """`compile` in model.yaml: off is XGBoost only, force ONNX Runtime only; the runtime says who answered."""
    answers = {}
    for mode, name in (("off", "xgboost"), ("force", "onnxruntime")):
        runtime, _ = load(tmp_path / mode, {"model.ubj": booster_file()}, options={"compile": mode})
        assert runtime.ways is not None
        answers[mode] = [runtime.predict({"input": breast_cancer()[0][:rows]})["probability"] for rows in (1, 7, 300)]
        assert runtime.ways.answered_by == name
        runtime.close()
    for native, compiled in zip(answers["off"], answers["force"], strict=True):
        assert np.allclose(native, compiled, rtol=1e-5, atol=0)
    with pytest.raises(BundleError, match=r"model.yaml.options.compile"):
        load(tmp_path / "wrong", {"model.ubj": booster_file()}, options={"compile": "sometimes"})


def test_golden_examples_are_compared(tmp_path: Path) -> None:
    """Golden inputs join the rows on which both runtimes must agree; those of another form are left to the check."""
    rows = breast_cancer()[0][:20].copy()
    rows[0] = np.nan
    for index, inputs in enumerate((rows, rows.astype(np.float64), rows[:, :7])):
        folder = tmp_path / str(index)
        folder.mkdir()
        expected = np.zeros((20, 1), np.float32)
        write_golden(folder / "golden.parquet", Golden({"input": inputs}, {"probability": expected}))
        runtime, _ = load(folder, {"model.ubj": booster_file()}, options={"compile": "force"})
        assert runtime.ways is not None
        assert runtime.ways.plan.state == "compiled"


def test_feature_names_become_columns(tmp_path: Path) -> None:
    """Names given at training let callers send records."""
    matrix = xgboost.DMatrix(np.eye(3), [0, 1, 2], feature_names=["a", "b", "c"])
    trained = xgboost.train({"nthread": 1}, matrix, 1)
    _, signature = load(tmp_path, {"model.ubj": bytes(trained.save_raw("ubj"))})
    assert signature.inputs[0].columns == ("a", "b", "c")


def test_model_yaml_may_rename(tmp_path: Path) -> None:
    """Names on the wire are the owner's choice; datatype and width are not."""
    declared = {"name": "cells", "datatype": "FP32", "shape": [30]}
    labels = {"name": "benign", "datatype": "FP32", "shape": [1], "labels": ["no", "yes"]}
    runtime, signature = load(tmp_path, {"model.ubj": booster_file()}, inputs=[declared], outputs=[labels])
    assert [tensor.name for tensor in (*signature.inputs, *signature.outputs)] == ["cells", "benign"]
    assert set(runtime.predict({"cells": breast_cancer()[0][:2]})) == {"benign"}
    with pytest.raises(BundleError, match=r"'cells' has shape \[30\] in the model, \[31\] in model.yaml"):
        load(tmp_path, {"model.ubj": booster_file()}, inputs=[declared | {"shape": [31]}])
    with pytest.raises(BundleError, match=r"one tensor here, model.yaml lists 2"):
        load(tmp_path, {"model.ubj": booster_file()}, inputs=[declared, declared | {"name": "other"}])


def test_without_batching_rows_stay_in_the_shape(tmp_path: Path) -> None:
    """A Booster takes rows whether requests share a run or not."""
    _, signature = load(tmp_path, {"model.ubj": booster_file()}, batching={"enabled": False})
    assert (signature.batched, signature.inputs[0].shape, signature.outputs[0].shape) == (False, (-1, 30), (-1, 1))


def test_early_stopping_is_honoured(tmp_path: Path) -> None:
    """The best iteration is used as scikit-learn's interface does, unless model.yaml says all trees."""
    trained = booster().copy()
    trained.set_attr(best_iteration="4")
    raw = {"model.ubj": bytes(trained.save_raw("ubj"))}
    rows = breast_cancer()[0][:20]
    best, _ = load(tmp_path / "best", raw)
    every, _ = load(tmp_path / "every", raw, options={"best_iteration": False})
    matrix = xgboost.DMatrix(rows)
    assert np.array_equal(
        best.predict({"input": rows})["probability"][:, 0], trained.predict(matrix, iteration_range=(0, 5))
    )
    assert np.array_equal(every.predict({"input": rows})["probability"][:, 0], booster().predict(matrix))


def test_the_short_way_equals_the_long_one() -> None:
    """XGBoost's C interface called directly gives bit for bit what inplace_predict gives, for one row and many."""
    trained = booster("multi:softprob")

    def reference(rows: Any) -> Any:
        return trained.inplace_predict(rows, missing=float("nan")).reshape(len(rows), -1)

    dense = DensePredictor.proven(trained, (0, 0), 30, reference)
    assert dense is not None
    for rows in (1, 2, 300):
        given = np.ascontiguousarray(breast_cancer()[0][:rows])
        assert np.array_equal(dense(given), reference(given))
    dense.close()


def test_the_short_way_is_given_up_where_it_differs() -> None:
    """A library whose answers differ from inplace_predict's keeps inplace_predict."""
    assert DensePredictor.proven(booster(), (0, 0), 30, lambda rows: np.zeros((len(rows), 1), np.float32)) is None


def test_wrong_width_is_the_models_own_error(tmp_path: Path) -> None:
    """What XGBoost refuses is raised with its first line, not its stack trace."""
    runtime, _ = load(tmp_path, {"model.ubj": booster_file()})
    with pytest.raises(RuntimeError, match=r"[Nn]umber of columns|feature") as caught:
        runtime.predict({"input": np.zeros((1, 29), np.float32)})
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """No file, no model and no tree booster are three different messages."""
    with pytest.raises(BundleError, match=r"there is no model.ubj or model.json in version"):
        load(tmp_path / "a", {})
    with pytest.raises(BundleError, match=r"XGBoost cannot load model.ubj"):
        load(tmp_path / "b", {"model.ubj": b"not a model"})


def test_a_missing_gpu_is_said_clearly() -> None:
    """cuda:N without CUDA or without that GPU is refused; auto falls back to the CPU."""
    with pytest.raises(BundleError, match="device cuda:0 asked for, but the installed XGBoost is built without CUDA"):
        choose_device("cuda:0", {"USE_CUDA": False})
    with pytest.raises(BundleError, match="device cuda:4096 asked for, but there are"):
        choose_device("cuda:4096", {"USE_CUDA": True})
    assert choose_device("auto", {"USE_CUDA": False}) == "cpu"
    assert choose_device("cpu", {"USE_CUDA": True}) == "cpu"
