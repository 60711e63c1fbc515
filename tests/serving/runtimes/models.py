"""Small real models on scikit-learn's own data, trained once per process, and bundles around them."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression

from serving.bundle.bundle import Bundle
from serving.bundle.definition import ModelDefinition
from serving.errors import BundleError
from serving.settings import validate
from serving.spec import ModelSpec

Array = NDArray[Any]


def definition(name: str = "m", **values: Any) -> ModelDefinition:
    return validate(ModelDefinition, {"name": name, **values}, error=BundleError)


def bundle(folder: Path, files: dict[str, bytes | str], name: str = "m", **values: Any) -> Bundle:
    """A bundle whose digests need no check: it is written here."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return Bundle(ModelSpec(name, folder.name), definition(name, **values), folder, "digest")


@cache
def breast_cancer() -> tuple[Array, Array]:
    """569 rows of 30 features, FP32, and their labels."""
    features, labels = load_breast_cancer(return_X_y=True)
    return features.astype(np.float32), labels


@cache
def booster(objective: str = "binary:logistic", rounds: int = 15) -> Any:
    import xgboost

    features, labels = breast_cancer()
    settings: dict[str, Any] = {"objective": objective, "max_depth": 3, "nthread": 1, "seed": 0}
    if objective.startswith("multi:"):
        settings["num_class"] = 3
        labels = labels + (features[:, 0] > 15)
    return xgboost.train(settings, xgboost.DMatrix(features, labels), rounds)


def booster_file(objective: str = "binary:logistic", raw_format: str = "ubj") -> bytes:
    return bytes(booster(objective).save_raw(raw_format=raw_format))


@cache
def digits() -> tuple[Array, Array]:
    """1797 rows of 64 pixels in 0..1, FP32, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels


@cache
def digits_classifier() -> LogisticRegression:
    return LogisticRegression(max_iter=200).fit(*digits())


@cache
def digits_onnx(zipmap: bool = False) -> bytes:
    from skl2onnx import to_onnx

    options = None if zipmap else {"zipmap": False}
    return to_onnx(digits_classifier(), digits()[0][:1], options=options).SerializeToString()


def graph(
    nodes: list[Any], inputs: list[tuple[str, int, list[Any]]], outputs: list[tuple[str, int, list[Any]]]
) -> bytes:
    """An ONNX model of these nodes; tensors are (name, TensorProto type, extents)."""
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def identity_onnx(kind: int = TensorProto.FLOAT, shape: list[Any] | None = None) -> bytes:
    extents = ["n", 2] if shape is None else shape
    return graph([helper.make_node("Identity", ["x"], ["y"])], [("x", kind, extents)], [("y", kind, extents)])
