"""Real models of every framework packed, opened again and asked: what is served is what was trained."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serving.bundle.compare import check_golden
from serving.bundle.golden import Golden, Tolerance, read_golden
from serving.bundle.open import open_bundle
from serving.bundle.pack import pack
from serving.bundle.packing import Packed
from serving.errors import BundleError
from serving.runtimes.registry import create
from tests.serving.bundle.makers import EXAMPLES, VECTOR, doubling_model

FRAME = load_breast_cancer(as_frame=True)
ROWS: Any = np.ascontiguousarray(FRAME.data, np.float32)
TARGET: Any = FRAME.target.to_numpy()


@pytest.fixture(scope="module")
def classifier() -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(ROWS, TARGET)


def served(packed: Packed, **inputs: Any) -> dict[str, Any]:
    """What the published version answers, after its golden examples."""
    bundle = open_bundle(packed.folder.parent, packed.spec.version)
    runtime = create(bundle.definition.framework)
    try:
        signature = runtime.load(bundle)
        assert check_golden(bundle, runtime, signature) == packed.golden_rows
        assert signature == packed.signature
        return dict(runtime.predict(inputs))
    finally:
        runtime.close()


def golden_of(packed: Packed) -> Golden:
    golden = read_golden(packed.folder)
    assert golden is not None
    return golden


def test_an_xgboost_classifier_is_served_with_its_own_probabilities(
    tmp_path: Path, classifier: xgboost.XGBClassifier
) -> None:
    """From a frame: the columns come along, and the examples are spread over the data."""
    packed = pack(
        classifier, name="cancer", repository=tmp_path, golden_inputs=FRAME.data, labels=["malignant", "benign"]
    )
    assert (packed.spec.version, packed.golden_rows) == ("1", 32)
    assert packed.signature.inputs[0].columns == tuple(FRAME.data.columns)
    assert packed.signature.outputs[0].labels == ("malignant", "benign")
    answer = served(packed, input=ROWS)
    np.testing.assert_allclose(answer["probability"][:, 0], classifier.predict_proba(ROWS)[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(golden_of(packed).inputs["input"][[0, -1]], ROWS[[0, -1]])


def test_boosters_of_every_kind_of_answer_are_served(tmp_path: Path) -> None:
    """Classes, numbers, rankings, and early stopping: what the model in memory says is what is served."""
    three = np.digitize(ROWS[:, 0], [12, 16])
    early = xgboost.XGBRegressor(n_estimators=30, early_stopping_rounds=2, n_jobs=1, learning_rate=1.0)
    early.fit(ROWS[:400], ROWS[:400, 1], eval_set=[(ROWS[400:], ROWS[400:, 1])], verbose=False)
    models = {
        "classes": xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(ROWS, three),
        "numbers": xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(ROWS, ROWS[:, 1]),
        "ranking": xgboost.XGBRanker(n_estimators=3, n_jobs=1).fit(ROWS, TARGET, qid=np.arange(len(ROWS)) // 50),
        "early": early,
        "booster": early.get_booster(),
    }
    for name, model in models.items():
        packed = pack(model, name=name, repository=tmp_path, golden_inputs=ROWS, golden_rows=20)
        answer = next(iter(served(packed, input=ROWS).values()))
        predicted = (
            model.predict_proba(ROWS)
            if name == "classes"
            else early.predict(ROWS)
            if name == "booster"
            else model.predict(ROWS)
        )
        np.testing.assert_allclose(answer.reshape(predicted.shape), predicted, rtol=1e-5)


def test_xgboost_with_another_mark_for_missing_values_is_refused(tmp_path: Path) -> None:
    """On the wire a missing value is NaN, so the served model would answer otherwise."""
    model = xgboost.XGBRegressor(n_estimators=1, missing=-1.0, n_jobs=1).fit(ROWS, TARGET)
    with pytest.raises(BundleError, match=r"missing=-1\.0, on the wire a missing value is NaN"):
        pack(model, name="x", repository=tmp_path)


def test_models_that_are_not_fitted_are_refused(tmp_path: Path) -> None:
    """With what to do, for either library; nothing is left in the repository."""
    with pytest.raises(BundleError, match="XGBClassifier is not fitted; call fit"):
        pack(xgboost.XGBClassifier(), name="x", repository=tmp_path)
    with pytest.raises(BundleError, match="does not say how many features"):
        pack(LogisticRegression(), name="x", repository=tmp_path)
    with pytest.raises(BundleError, match="cannot convert LogisticRegression"):
        pack(LogisticRegression(), name="x", repository=tmp_path, golden_inputs=ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["ubj", "json"])
def test_saved_boosters_are_packed_from_either_form(
    tmp_path: Path, classifier: xgboost.XGBClassifier, suffix: str
) -> None:
    """The bundle holds the binary form, whatever the file was."""
    file = tmp_path / f"any.{suffix}"
    classifier.save_model(file)
    packed = pack(file, name="cancer", repository=tmp_path / "models", golden_inputs=ROWS)
    assert (packed.folder / "model.ubj").exists()
    np.testing.assert_allclose(served(packed, input=ROWS)["probability"][:, 0], classifier.predict_proba(ROWS)[:, 1])


def test_a_scikit_learn_classifier_is_served_as_onnx(tmp_path: Path) -> None:
    """Label and probabilities as plain tensors; class names go to the output that has as many elements."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, TARGET)
    packed = pack(model, name="cancer", repository=tmp_path, golden_inputs=ROWS, labels=["malignant", "benign"])
    answer = served(packed, input=ROWS)
    np.testing.assert_array_equal(answer["label"], model.predict(ROWS))
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(ROWS), atol=1e-4)
    assert [tensor.labels for tensor in packed.signature.outputs] == [(), ("malignant", "benign")]


def test_scikit_learn_models_that_are_no_classifiers_are_served(tmp_path: Path) -> None:
    """Regression, clusters, transformation, and classes that are texts; without examples the width is the model's."""
    diabetes = load_diabetes()
    regression = LinearRegression().fit(diabetes.data, diabetes.target)
    packed = pack(regression, name="diabetes", repository=tmp_path, golden_inputs=diabetes.data)
    answer = served(packed, input=diabetes.data.astype(np.float32))
    np.testing.assert_allclose(answer["variable"][:, 0], regression.predict(diabetes.data), rtol=1e-4)
    clusters = KMeans(3, n_init=1, random_state=0).fit(diabetes.data.astype(np.float32))
    assert pack(clusters, name="clusters", repository=tmp_path, golden_inputs=diabetes.data).golden_rows == 32
    scaler = StandardScaler().fit(diabetes.data)
    assert pack(scaler, name="scaler", repository=tmp_path, golden_inputs=diabetes.data).golden_rows == 32
    texts = LogisticRegression().fit(ROWS[:, :3], np.where(TARGET, "yes", "no"))
    answer = served(pack(texts, name="texts", repository=tmp_path), input=ROWS[:5, :3])
    assert set(answer["label"].tolist()) <= {"yes", "no"}


def test_a_frame_of_mixed_columns_becomes_one_input_a_column(tmp_path: Path) -> None:
    """Texts and numbers, each with its own type, as a pipeline with a column transformer takes them."""
    frame = pd.DataFrame({"colour": ["red", "green", "red", "blue"] * 5, "size": np.linspace(0, 1, 20)})
    steps = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["size"]))
    model = make_pipeline(steps, LogisticRegression()).fit(frame, [0, 1, 0, 1] * 5)
    packed = pack(model, name="mixed", repository=tmp_path, golden_inputs=frame)
    assert [str(tensor) for tensor in packed.signature.inputs] == ["colour BYTES[1]", "size FP32[1]"]
    golden = golden_of(packed)
    assert golden.inputs["colour"][0].tolist() == [b"red"]
    np.testing.assert_array_equal(golden.expected["label"], model.predict(frame))


def test_an_estimator_that_cannot_be_converted_says_so(tmp_path: Path) -> None:
    """With the other way to serve it."""

    class Odd(LinearRegression):
        pass

    with pytest.raises(BundleError, match="cannot convert Odd") as caught:
        pack(Odd().fit(ROWS, TARGET), name="odd", repository=tmp_path, golden_inputs=ROWS)
    assert "framework python" in str(caught.value)


def test_an_onnx_model_is_packed_from_memory_file_and_folder(tmp_path: Path) -> None:
    """All three are the same bundle but for the time."""
    model = doubling_model()
    file = tmp_path / "export" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(model.SerializeToString())
    digests = {
        pack(
            source, name="twice", repository=tmp_path / "models", golden_inputs=EXAMPLES, framework="onnx", now=NOW
        ).digest
        for source in (model, file, str(file.parent))
    }
    packed = pack(model, name="twice", repository=tmp_path / "models", golden_inputs=EXAMPLES)
    np.testing.assert_array_equal(served(packed, x=EXAMPLES)["y"], 2 * EXAMPLES)
    assert packed.spec.version == "4"
    assert len(digests) == 2, "a ModelProto also notes the version of onnx"


NOW = datetime(2024, 5, 1, tzinfo=UTC)
MODEL_PY = """
import numpy as np

class Model:
    def load(self, folder):
        self.factor = float((folder / "factor.txt").read_text()) if (folder / "factor.txt").exists() else 3.0
    def predict(self, inputs):
        return {"y": inputs["x"] * np.float32(self.factor)}
"""


def test_a_users_own_class_is_packed_from_a_file_or_a_folder(tmp_path: Path) -> None:
    """Only what belongs to it: no compiled Python, no hidden file, and nothing that running it left behind."""
    folder = tmp_path / "source"
    (folder / "__pycache__").mkdir(parents=True)
    for name, text in {"model.py": MODEL_PY, "factor.txt": "2", ".env": "x", "__pycache__/model.pyc": "x"}.items():
        (folder / name).write_text(text)
    tensors: dict[str, Any] = {
        "inputs": [VECTOR],
        "outputs": [VECTOR.model_copy(update={"name": "y"})],
        "class_": "model:Model",
        "golden_inputs": EXAMPLES,
        "framework": "python",
    }
    repository = tmp_path / "models"
    packed = pack(folder, name="own", repository=repository, **tensors)
    np.testing.assert_array_equal(served(packed, x=EXAMPLES)["y"], 2 * EXAMPLES)
    names = {path.name for path in packed.folder.iterdir()}
    assert names == {"model.py", "factor.txt", "golden.parquet", "MANIFEST.json"}
    alone = pack(folder / "model.py", name="own", repository=repository, **tensors)
    np.testing.assert_array_equal(served(alone, x=EXAMPLES)["y"], 3 * EXAMPLES)


def test_a_python_model_without_its_tensors_says_what_is_missing(tmp_path: Path) -> None:
    """Only a class cannot tell its inputs."""
    (tmp_path / "model.py").write_text(MODEL_PY)
    with pytest.raises(BundleError, match=r"model\.yaml\.inputs"):
        pack(tmp_path / "model.py", name="own", repository=tmp_path / "models", class_="model:Model")


@pytest.mark.parametrize(
    ("name", "framework", "text"),
    [
        ("none.onnx", None, "there is no none.onnx"),
        ("odd.bin", None, "cannot tell the framework of odd.bin"),
        ("odd.bin", "xgboost", "odd.bin is no XGBoost model"),
        ("odd.bin", "echo", "echo takes no file"),
        ("odd.onnx", None, "ONNX Runtime cannot load the model"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, name: str, framework: Any, text: str) -> None:
    """Missing, of no known kind, or not what their name says."""
    for file in ("odd.bin", "odd.onnx"):
        (tmp_path / file).write_bytes(b"odd")
    with pytest.raises(BundleError, match=text):
        pack(tmp_path / name, name="x", repository=tmp_path / "models", framework=framework)
    assert not (tmp_path / "models").exists() or list((tmp_path / "models").iterdir()) == []


class Liar(LinearRegression):
    """Predicts otherwise in memory than what was fitted says."""

    def predict(self, X: Any) -> Any:
        return super().predict(X) + 1


def test_a_model_that_is_served_otherwise_than_it_predicts_is_refused(tmp_path: Path) -> None:
    """The conversion is proved on the examples; a tolerance the caller gives is obeyed."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
    from skl2onnx.operator_converters.linear_regressor import convert_sklearn_linear_regressor

    update_registered_converter(
        Liar, "Liar", calculate_linear_regressor_output_shapes, convert_sklearn_linear_regressor
    )
    model = Liar().fit(ROWS, TARGET)
    with pytest.raises(BundleError, match="answers differently from the one in memory: row 0: output variable"):
        pack(model, name="liar", repository=tmp_path, golden_inputs=ROWS)
    assert pack(model, name="liar", repository=tmp_path, golden_inputs=ROWS, tolerance=Tolerance(atol=2)).golden_rows


def test_a_model_of_another_framework_than_asked_for_is_refused(
    tmp_path: Path, classifier: xgboost.XGBClassifier
) -> None:
    """What the model is decides; the argument only settles what a file cannot say."""
    with pytest.raises(BundleError, match="onnx was asked for, the model is one for xgboost"):
        pack(classifier, name="x", repository=tmp_path, framework="onnx")


def test_labels_that_fit_no_output_or_several_must_name_theirs(tmp_path: Path) -> None:
    """Two classes for the outputs label and probabilities of three."""
    model = LogisticRegression(max_iter=2000).fit(ROWS[:, :3], np.digitize(ROWS[:, 0], [12, 16]))
    with pytest.raises(BundleError, match=r"labels: 2 labels fit no tensor; give \{tensor: names\}"):
        pack(model, name="x", repository=tmp_path, labels=["a", "b"])
    packed = pack(model, name="x", repository=tmp_path, labels={"probabilities": ["a", "b", "c"]})
    assert packed.signature.outputs[1].labels == ("a", "b", "c")
