"""Which framework a model is of, told by its class or file, without importing any framework."""

import os
from pathlib import Path
from typing import Any

from serving.bundle.definition import Framework
from serving.bundle.sources.boosters import booster_source
from serving.bundle.sources.estimators import estimator_source
from serving.bundle.sources.files import file_source
from serving.bundle.sources.source import Source
from serving.errors import BundleError


def source_of(model: Any, framework: Framework | None, examples: Any) -> Source:
    """`model`: a path, an XGBoost Booster or wrapper, an ONNX ModelProto, a scikit-learn estimator; None for the echo
    framework. Raises BundleError, also if the model is not of the framework asked for."""
    source = _source(model, framework, examples)
    if framework is not None and source.framework != framework:
        raise BundleError(
            f"{framework} was asked for, the model is one for {source.framework}", field="framework", remedy="leave out"
        )
    return source


def _source(model: Any, framework: Framework | None, examples: Any) -> Source:
    if isinstance(model, str | os.PathLike):
        return file_source(Path(model), framework)
    if model is None and framework == "echo":
        return Source("echo", _write_nothing)
    packages = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    if "xgboost" in packages:
        return booster_source(model)
    if "onnx" in packages or (hasattr(model, "SerializeToString") and hasattr(model, "graph")):
        return _onnx_source(model)
    if "sklearn" in packages:
        return estimator_source(model, examples)
    raise BundleError(
        f"cannot pack a {type(model).__name__}",
        field="model",
        remedy="give a path, an XGBoost model, an ONNX ModelProto or a scikit-learn estimator; for any other write a"
        " class and pack its file with framework python",
    )


def _write_nothing(_folder: Path, _file: str) -> None:
    """The echo framework has no file."""


def _onnx_source(model: Any) -> Source:
    def write(folder: Path, file: str) -> None:
        (folder / (file or "model.onnx")).write_bytes(model.SerializeToString())

    return Source("onnx", write, libraries=("onnxruntime", "onnxruntime-gpu", "onnx"))
