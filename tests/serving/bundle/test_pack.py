"""What `pack` writes beside the model, and what it refuses."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.bundle.definition import TensorDefinition, read_definition
from serving.bundle.golden import Golden, Tolerance, read_golden
from serving.bundle.manifest import parse_manifest
from serving.bundle.pack import pack
from serving.bundle.packing import Packed
from serving.bundle.publish import VersionTaken
from serving.errors import BundleError
from tests.serving.bundle.makers import EXAMPLES, VECTOR, doubling_model, pack_echo, write_triton

FRAME = load_breast_cancer(as_frame=True)
ROWS: Any = np.ascontiguousarray(FRAME.data, np.float32)
TARGET: Any = FRAME.target.to_numpy()
NOW = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def classifier() -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(ROWS, TARGET)


def golden_of(packed: Packed) -> Golden:
    golden = read_golden(packed.folder)
    assert golden is not None
    return golden


def test_the_manifest_tells_where_a_version_came_from(tmp_path: Path) -> None:
    """Time, framework, libraries, interpreter, signature, metrics and the training run, in canonical form."""
    packed = pack(
        doubling_model(),
        name="twice",
        repository=tmp_path,
        golden_inputs=EXAMPLES,
        metrics={"accuracy": 0.97},
        training={"run": "a1", "rows": 3},
        now=NOW,
    )
    raw = (packed.folder / "MANIFEST.json").read_bytes()
    manifest = parse_manifest(raw)
    assert manifest.created == NOW
    assert manifest.framework == "onnx"
    assert {"onnxruntime", "onnx"} <= manifest.libraries.keys()
    assert manifest.interpreter.startswith("CPython 3.")
    assert manifest.signature.signature() == packed.signature
    assert (manifest.metrics, manifest.training) == ({"accuracy": 0.97}, {"run": "a1", "rows": 3})
    assert manifest.golden_rows == 4
    assert manifest.files.keys() == {"model.onnx", "golden.parquet"}
    assert list(json.loads(raw)) == sorted(json.loads(raw))


def test_a_model_yaml_that_is_there_is_kept_but_for_what_is_said(tmp_path: Path) -> None:
    """Untouched, comments and all, if nothing new is said; else rewritten with labels and settings kept."""
    pack(doubling_model(), name="twice", repository=tmp_path)
    path = tmp_path / "twice" / "model.yaml"
    text = "# mine\nname: twice\nframework: onnx\nlabels: {stable: 1}\nbatching: {max_batch_rows: 7}\n"
    path.write_text(text)
    pack(doubling_model(), name="twice", repository=tmp_path)
    assert path.read_text() == text
    pack(doubling_model(), name="twice", repository=tmp_path, owner="me", max_wait_s=0.5, columns=["a", "b", "c"])
    definition = read_definition(path)
    assert (definition.labels, definition.owner) == ({"stable": "1"}, "me")
    assert (definition.batching.max_batch_rows, definition.batching.max_wait_s) == (7, 0.5)
    assert definition.inputs[0].columns == ("a", "b", "c")


def test_a_version_that_does_not_fit_the_model_yaml_is_refused(tmp_path: Path, classifier: Any) -> None:
    """Another framework or another shape would break the model's callers; nothing is published."""
    pack(doubling_model(), name="twice", repository=tmp_path, columns=["a", "b", "c"])
    with pytest.raises(BundleError, match=r"model\.yaml\.framework: is onnx, the model to pack is for xgboost"):
        pack(classifier, name="twice", repository=tmp_path)
    with pytest.raises(BundleError, match=r"'x' has shape \[4\] in the model, \[3\] in model\.yaml"):
        pack(doubling_model(width=4), name="twice", repository=tmp_path)
    (tmp_path / "twice" / "model.yaml").write_text("name: twice\nframwork: onnx")
    with pytest.raises(BundleError, match=r"model\.yaml"):
        pack(doubling_model(), name="twice", repository=tmp_path)
    write_triton(tmp_path, "theirs", "")
    with pytest.raises(BundleError, match="theirs: is in Triton's layout; publish under another name"):
        pack(doubling_model(), name="theirs", repository=tmp_path)
    assert [path.name for path in sorted((tmp_path / "twice").iterdir())] == ["1", "model.yaml"]


def test_a_version_is_published_once(tmp_path: Path) -> None:
    """An explicit version that exists is refused at once."""
    assert pack_echo(tmp_path, version="2024-01-31").spec.version == "2024-01-31"
    assert pack_echo(tmp_path).spec.version == "1"
    with pytest.raises(VersionTaken):
        pack_echo(tmp_path, version="2024-01-31")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "a/b"}, "name: 'a/b' is not allowed"),
        ({"name": "..", "version": "1"}, "name: '..' is not allowed"),
        ({"version": "../1"}, "version: '../1' is not allowed"),
        ({"repository": "s3://bucket/models"}, "repository: models are published to a local folder"),
        ({"golden_inputs": np.zeros((4, 5))}, "input x is FP32[5] per example, the model takes x FP32[3]"),
        ({"golden_inputs": []}, "golden_inputs: need examples"),
        ({"golden_inputs": 3.0}, "input x is FP32[] per example"),
        ({"golden_inputs": {"z": EXAMPLES}}, "golden_inputs: has ['z'], the model takes ['x']"),
        ({"golden_inputs": [["a", "b", "c"]]}, "golden_inputs: x needs FP32"),
        ({"columns": ["a"]}, "1 columns for 3 elements"),
        ({"columns": {"z": ["a"]}}, "columns: there is no tensor z; there are x"),
        ({"tolerance": {"z": Tolerance()}}, "tolerance: the model has no output z; use x"),
        ({"metrics": {"accuracy": float("nan")}}, "metrics.accuracy"),
        ({"framework": "onnx"}, "cannot pack a NoneType"),
        ({"max_batch_rows": 0}, "model.yaml.batching.max_batch_rows"),
    ],
)
def test_wrong_arguments_are_named_and_leave_nothing(tmp_path: Path, arguments: dict[str, Any], text: str) -> None:
    """The repository is as empty as before, without so much as a hidden folder."""
    with pytest.raises(BundleError) as caught:
        pack_echo(**({"repository": tmp_path} | arguments))
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_models_that_do_not_batch_keep_each_example_whole(tmp_path: Path) -> None:
    """An example is then a whole request."""
    packed = pack(doubling_model(batch=2), name="pairs", repository=tmp_path, golden_inputs=np.ones((5, 2, 3)))
    assert not packed.signature.batched
    assert golden_of(packed).expected["y"].shape == (5, 2, 3)
    assert pack_echo(tmp_path, "one", batched=False).golden_rows == 4


def test_examples_of_every_datatype_are_cast_to_the_models(tmp_path: Path) -> None:
    """Integers that fit, truth values and texts; numbers that do not fit are refused."""
    tensors = [TensorDefinition(name=name, datatype=name) for name in ("UINT8", "BOOL", "BYTES", "FP16", "BF16")]
    given = {"UINT8": [1, 255], "BOOL": [0, 1], "BYTES": ["a", "é"], "FP16": [0.5, 2.0], "BF16": [0x3F80, 0]}
    packed = pack_echo(tmp_path, inputs=tensors, golden_inputs=given)
    golden = golden_of(packed)
    assert golden.inputs["BYTES"].tolist() == [b"a", "é".encode()]
    assert golden.inputs["BOOL"].dtype == np.bool_
    assert golden.datatypes == {"BF16": "BF16"}
    with pytest.raises(BundleError, match="UINT8"):
        pack_echo(tmp_path, inputs=tensors, golden_inputs=given | {"UINT8": [1, 256]})
    with pytest.raises(BundleError, match="as many for every input"):
        pack_echo(tmp_path, inputs=tensors, golden_inputs=given | {"BOOL": [True]})


def test_no_model_is_packed_that_nothing_can_run(tmp_path: Path) -> None:
    """An object of no known framework, with what to do instead."""
    with pytest.raises(BundleError, match="cannot pack a dict; give a path"):
        pack({}, name="x", repository=tmp_path)


def allowed(packed: Packed) -> list[bool]:
    """Whether each input takes NaN, by model.yaml and by the signature, which must agree."""
    allows = [tensor.allow_nan for tensor in read_definition(packed.folder.parent / "model.yaml").inputs]
    assert not allows or allows == [tensor.allow_nan for tensor in packed.signature.inputs]
    return [tensor.allow_nan for tensor in packed.signature.inputs]


def test_a_new_model_refuses_missing_values_unless_it_takes_them_on_purpose(tmp_path: Path, classifier: Any) -> None:
    """XGBoost does, an estimator with an imputer in front does, and examples with a missing value say so."""
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, TARGET)
    imputing = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=5000)).fit(ROWS, TARGET)
    holed = np.array([[1, np.nan, 3]], np.float32)
    assert allowed(pack(doubling_model(), name="plain", repository=tmp_path)) == [False]
    assert allowed(pack(doubling_model(), name="named", repository=tmp_path, columns=["a", "b", "c"])) == [False]
    assert allowed(pack(doubling_model(), name="holed", repository=tmp_path, golden_inputs=holed)) == [True]
    assert allowed(pack(linear, name="linear", repository=tmp_path)) == [False]
    assert allowed(pack(linear, name="proved", repository=tmp_path, golden_inputs=ROWS)) == [False]
    assert allowed(pack(imputing, name="imputing", repository=tmp_path)) == [True]
    assert allowed(pack(classifier, name="trees", repository=tmp_path)) == [True]
    assert allowed(pack_echo(tmp_path, "mine")) == [True]


def test_a_packed_default_does_not_bind_the_next_version(tmp_path: Path) -> None:
    """The shape stays the file's to say, and what the owner changes in model.yaml stays changed."""
    pack(doubling_model(), name="twice", repository=tmp_path)
    path = tmp_path / "twice" / "model.yaml"
    path.write_text(path.read_text().replace("allow_nan: false", "allow_nan: true"))
    packed = pack(doubling_model(width=4), name="twice", repository=tmp_path)
    assert allowed(packed) == [True]
    assert packed.signature.inputs[0].shape == (4,)


def test_what_is_published_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """A worker of another user can read it wherever the publisher's umask lets it."""
    umask = os.umask(0o022)
    try:
        packed = pack_echo(tmp_path)
    finally:
        os.umask(umask)
    for path in (packed.folder.parent, packed.folder):
        assert path.stat().st_mode & 0o777 == 0o755
    assert (packed.folder / "MANIFEST.json").stat().st_mode & 0o777 == 0o644


def test_a_model_that_cannot_be_loaded_is_named_without_our_hidden_folder(tmp_path: Path) -> None:
    """The text is about the user's file; the folder it was tried in has gone."""
    (tmp_path / "bad.onnx").write_text("nonsense")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.py").write_text(
        "class Own:\n    def load(self, folder): open(folder / 'weights.txt')\n    def predict(self, inputs): pass\n"
    )
    with pytest.raises(BundleError, match=r"Load model from model\.onnx failed"):
        pack(tmp_path / "bad.onnx", name="x", repository=tmp_path / "models")
    with pytest.raises(BundleError, match=r"No such file .*: 'weights\.txt'; put the files that it reads beside it"):
        pack(
            tmp_path / "own",
            name="x",
            repository=tmp_path / "models",
            framework="python",
            class_="model:Own",
            inputs=[VECTOR],
            outputs=[VECTOR],
        )


def test_a_saved_booster_that_is_none_has_its_cause(tmp_path: Path) -> None:
    """XGBoost's reason, without its source file and stack."""
    (tmp_path / "x.ubj").write_text("garbage")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BundleError, match=r"x\.ubj is no XGBoost model: Invalid model format in: .*; use save_model"):
        pack(tmp_path / "x.ubj", name="x", repository=tmp_path / "models")
    with pytest.raises(BundleError, match=r"x\.json is no XGBoost model: Invalid cast, from Null to Object; use"):
        pack(tmp_path / "x.json", name="x", repository=tmp_path / "models")
