from pathlib import Path

import numpy as np
import pytest

from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.errors import BundleError
from serving.spec import ModelSpec
from serving.worker.load import load_version
from serving.worker.settings import WorkerModel
from tests.serving.runtimes.models import booster, breast_cancer
from tests.serving.worker.bundles import echo
from tests.serving.worker.requests import parse, request


def test_a_published_model_loads_and_answers(tmp_path: Path) -> None:
    """From the folder to a predictor: digests, golden examples, and the model's own answer."""
    features = breast_cancer()[0][:8]
    pack(booster(), name="cells", repository=tmp_path, golden_inputs=features)
    model = WorkerModel(name="cells", version="1", model_folder=str(tmp_path / "cells"))
    loaded = load_version(model, framework="xgboost", threads=1)
    assert loaded.bundle.spec == ModelSpec("cells", "1")
    assert loaded.cost.seen == 2
    assert loaded.load_s > 0
    recipe = loaded.predictor
    answered = recipe.run([recipe.decode(request({"input": features}).SerializeToString())])
    import xgboost

    probability = np.frombuffer(parse(answered.responses[0]).raw_output_contents[0], np.float32)
    assert np.array_equal(probability, booster().predict(xgboost.DMatrix(features)))
    recipe.close()


def test_a_changed_file_is_never_opened(tmp_path: Path) -> None:
    """A digest that is wrong refuses the version before any framework sees the file."""
    pack(booster(), name="cells", repository=tmp_path)
    file = next((tmp_path / "cells" / "1").glob("model.*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    model = WorkerModel(name="cells", version="1", model_folder=str(tmp_path / "cells"))
    with pytest.raises(BundleError, match=file.name):
        load_version(model, framework="xgboost", threads=1)


def test_another_frameworks_model_is_refused(tmp_path: Path) -> None:
    """A worker runs one framework."""
    with pytest.raises(BundleError, match=r"model.yaml.framework: is echo, but this worker runs onnx"):
        load_version(echo(tmp_path), framework="onnx", threads=1)


def test_what_fails_after_loading_is_closed_again(tmp_path: Path) -> None:
    """A model whose outputs are wrong gives its memory back."""
    source = tmp_path / "model.py"
    source.write_text(
        "import pathlib\n"
        "class Model:\n"
        "  def load(self, folder): self.mark = folder.parent.parent.parent / 'closed'\n"
        "  def predict(self, inputs): return {'y': inputs['x'][:0]}\n"
        "  def close(self): self.mark.write_text('yes')\n"
    )
    tensor = {"datatype": "FP32", "shape": (2,)}
    pack(
        source,
        name="odd",
        repository=tmp_path / "models",
        framework="python",
        class_="model:Model",
        inputs=[TensorDefinition.model_validate({"name": "x", **tensor})],
        outputs=[TensorDefinition.model_validate({"name": "y", **tensor})],
    )
    (tmp_path / "closed").unlink(missing_ok=True)
    model = WorkerModel(name="odd", version="1", model_folder=str(tmp_path / "models" / "odd"))
    with pytest.raises(BundleError, match="output 'y' has 0 rows for 1 rows of input"):
        load_version(model, framework="python", threads=1)
    assert (tmp_path / "closed").read_text() == "yes"
