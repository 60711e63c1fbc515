from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.errors import BundleError
from serving.runtimes.onnx import OnnxRuntime, choose_providers
from serving.spec import Signature, TensorSpec
from tests.serving.runtimes.models import bundle, digits, digits_classifier, digits_onnx, graph, identity_onnx


def load(folder: Path, model: bytes, **values: Any) -> tuple[OnnxRuntime, Signature]:
    runtime = OnnxRuntime()
    return runtime, runtime.load(bundle(folder, {"model.onnx": model}, framework="onnx", **values))


def test_a_converted_classifier_predicts_as_before(tmp_path: Path) -> None:
    """Labels and probabilities of the digits equal scikit-learn's; the signature is the model's own, rows left out."""
    runtime, signature = load(tmp_path, digits_onnx())
    assert signature == Signature(
        (TensorSpec("X", "FP32", (64,)),),
        (TensorSpec("label", "INT64", ()), TensorSpec("probabilities", "FP32", (10,))),
    )
    pixels = digits()[0][:50]
    outputs = runtime.predict({"X": pixels})
    assert (outputs["label"] == digits_classifier().predict(pixels)).all()
    np.testing.assert_allclose(outputs["probabilities"], digits_classifier().predict_proba(pixels), atol=1e-5)
    assert runtime.device == "cpu"
    runtime.close()


def test_zipmap_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """A sequence of maps has no form on the wire; the message says how to convert without it."""
    with pytest.raises(BundleError, match=r"'output_probability' is a seq\(map.*options=\{'zipmap': False\}"):
        load(tmp_path, digits_onnx(zipmap=True))


def test_zipmap_may_be_left_out(tmp_path: Path) -> None:
    """Naming the other output in model.yaml serves such a model all the same."""
    runtime, signature = load(
        tmp_path, digits_onnx(zipmap=True), outputs=[{"name": "output_label", "datatype": "INT64", "shape": []}]
    )
    assert [tensor.name for tensor in signature.outputs] == ["output_label"]
    assert list(runtime.predict({"X": digits()[0][:2]})) == ["output_label"]


def test_texts_go_in_and_out(tmp_path: Path) -> None:
    """BYTES inputs become text for the model and must be UTF-8; its texts come back."""
    runtime, signature = load(tmp_path, identity_onnx(TensorProto.STRING, ["n", 2]))
    assert signature.inputs == (TensorSpec("x", "BYTES", (2,)),)
    assert runtime.text_inputs == {"x"}
    outputs = runtime.predict({"x": np.array([["grün".encode(), b""]], object)})
    assert outputs["y"].tolist() == [["grün", ""]]


@pytest.mark.parametrize("first", ["n", None, -1, ""])
def test_an_open_first_dimension_is_the_batch(tmp_path: Path, first: str | int | None) -> None:
    """Symbolic, missing and negative first extents all mean rows."""
    model = identity_onnx(shape=[first, 2]) if first != -1 else identity_onnx(shape=[None, 2])
    _, signature = load(tmp_path, model)
    assert signature == Signature((TensorSpec("x", "FP32", (2,)),), (TensorSpec("y", "FP32", (2,)),))


def test_a_fixed_first_dimension_means_no_batch(tmp_path: Path) -> None:
    """Where the model fixes it, requests run alone in the model's own shape."""
    _, signature = load(tmp_path, identity_onnx(shape=[1, 2]))
    assert signature == Signature((TensorSpec("x", "FP32", (1, 2)),), (TensorSpec("y", "FP32", (1, 2)),), False)


def test_batching_asked_of_a_fixed_model_is_refused(tmp_path: Path) -> None:
    """Explicit `enabled: true` cannot be met by a model with a fixed first dimension."""
    with pytest.raises(BundleError, match=r"first dimension of 'x' is fixed in the model: \(1, 2\).*dynamic"):
        load(tmp_path, identity_onnx(shape=[1, 2]), batching={"enabled": True})


def test_batching_may_be_turned_off(tmp_path: Path) -> None:
    """`enabled: false` keeps the open dimension on the wire, as a part of the shape."""
    _, signature = load(tmp_path, identity_onnx(), batching={"enabled": False})
    assert signature == Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),), False)


def test_declared_tensors_must_agree(tmp_path: Path) -> None:
    """model.yaml that says otherwise than the file is refused, with both."""
    with pytest.raises(BundleError, match=r"'x' is FP32 in the model, INT64 in model.yaml"):
        load(tmp_path, identity_onnx(), inputs=[{"name": "x", "datatype": "INT64", "shape": [2]}])


def test_several_inputs_keep_their_names(tmp_path: Path) -> None:
    """Inputs are matched by name, whatever the order."""
    model = graph(
        [helper.make_node("Sub", ["a", "b"], ["c"])],
        [("a", TensorProto.DOUBLE, ["n"]), ("b", TensorProto.DOUBLE, ["n"])],
        [("c", TensorProto.DOUBLE, ["n"])],
    )
    runtime, signature = load(tmp_path, model)
    assert [str(tensor) for tensor in (*signature.inputs, *signature.outputs)] == ["a FP64[]", "b FP64[]", "c FP64[]"]
    assert runtime.predict({"b": np.array([1.0, 2]), "a": np.array([5.0, 5])})["c"].tolist() == [4, 3]


def test_a_missing_file_names_where_to_say_so(tmp_path: Path) -> None:
    """Without the file the message says its usual name and the key of model.yaml."""
    with pytest.raises(BundleError, match=r"model.yaml.file: there is no model.onnx in version 7"):
        OnnxRuntime().load(bundle(tmp_path / "7", {}, framework="onnx"))


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """Bytes that are no ONNX model end in BundleError, with ONNX Runtime's own words."""
    with pytest.raises(BundleError, match="ONNX Runtime cannot load the model"):
        load(tmp_path, b"not a model")


def test_a_missing_gpu_is_said_clearly(tmp_path: Path) -> None:
    """Asking for a GPU where ONNX Runtime has none is refused with what to install."""
    with pytest.raises(BundleError, match=r"device cuda:0 asked for.*no CUDA provider.*onnxruntime-gpu"):
        load(tmp_path, identity_onnx(), device="cuda:0")


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        ("auto", ["CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            "auto",
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            [("CUDAExecutionProvider", {"device_id": "0"}), "CPUExecutionProvider"],
        ),
        (
            "cuda:2",
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            [("CUDAExecutionProvider", {"device_id": "2"}), "CPUExecutionProvider"],
        ),
    ],
)
def test_providers_follow_the_device(device: str, available: list[str], expected: list[Any]) -> None:
    """`auto` takes the first GPU if there is one; `cuda:N` that very one; `cpu` never a GPU."""
    assert choose_providers(device, available) == expected


def test_options_reach_the_session(tmp_path: Path) -> None:
    """Threads and optimisation are taken from model.yaml; an unknown option is refused."""
    options = {"intra_op_threads": 2, "graph_optimization": "basic", "spin": True}
    runtime, _ = load(tmp_path, identity_onnx(), options=options)
    assert runtime.predict({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]
    with pytest.raises(BundleError, match=r"model.yaml.options.threads: unknown key; did you mean"):
        load(tmp_path, identity_onnx(), options={"threads": 2})
