from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.bundle.definition import ModelDefinition
from serving.bundle.open import open_bundle
from serving.bundle.triton import MAX_CONFIG_BYTES, VersionPolicy, completed_definition, read_config
from serving.errors import BundleError
from serving.runtimes.registry import create
from tests.serving.bundle.makers import doubling_model, write_triton

FULL = """
name: "twice"
platform: "onnxruntime_onnx"   # a comment
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NONE dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] label_filename: "labels.txt" } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 2500 }
instance_group [ { count: 2 kind: KIND_CPU } ]
version_policy { specific { versions: [ 1, 3 ] } }
optimization { graph { level: 1 } }
default_model_filename: "twice.onnx"
response_cache { enable: true }
parameters { key: "x" value { string_value: "y" } }
"""
LABELS = {"labels.txt": b"cat\ndog\n\n bird \n"}


def reader(files: dict[str, bytes]) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        try:
            return files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    return read


def parsed(text: str) -> ModelDefinition:
    return read_config("twice", text.encode(), reader(LABELS))[0]


def test_every_supported_field_is_understood() -> None:
    """Names, types, shapes, labels, batching, device, file and versions."""
    definition, policy = read_config("twice", FULL.encode(), reader(LABELS))
    assert (definition.name, definition.framework, definition.file) == ("twice", "onnx", "twice.onnx")
    assert [str(tensor.spec()) for tensor in definition.inputs] == ["x FP32[3]"]
    assert definition.outputs[0].shape == (-1,)
    assert definition.outputs[0].labels == ("cat", "dog", "bird")
    assert definition.batching.enabled
    assert definition.batching.max_batch_rows == 8
    assert definition.batching.max_wait_s == 0.0025
    assert definition.device == "cpu"
    assert definition.response_cache.enabled
    assert policy.served(["1", "2", "3", "x"]) == ["1", "3"]


def test_no_batch_size_is_no_batching_where_the_tensors_are_listed() -> None:
    """Dims are then the whole shape, as with Triton; where nothing is listed the model file decides."""
    listed = parsed('backend: "onnxruntime" input { name: "x" data_type: TYPE_STRING dims: [1, 3] }')
    assert not listed.batching.enabled
    assert (listed.inputs[0].datatype, listed.inputs[0].shape) == ("BYTES", (1, 3))
    for silent in (parsed(""), completed_definition("twice")):
        assert silent.batching.enabled
        assert "enabled" not in silent.batching.model_fields_set
        assert silent.file == "model.onnx"


@pytest.mark.parametrize(
    ("group", "device"),
    [
        ("", "auto"),
        ("instance_group { count: 1 }", "auto"),
        ("instance_group { kind: KIND_CPU } instance_group { kind: KIND_CPU count: 3 }", "cpu"),
        ("instance_group { kind: KIND_GPU }", "cuda:0"),
        ("instance_group { kind: KIND_GPU gpus: [ 1 ] }", "cuda:1"),
        ("instance_group { gpus: [ 2 ] }", "cuda:2"),
    ],
)
def test_instance_groups_choose_the_device(group: str, device: str) -> None:
    """Kind and number; how many instances there are is Dodona's own business."""
    assert parsed(group).device == device


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ('platform: "tensorflow_savedmodel"', "platform", "'tensorflow_savedmodel' is not served from this layout"),
        ('platform: "ensemble"', "platform", "'ensemble'"),
        ('backend: "python"', "backend", "use onnxruntime"),
        ('name: "thrice"', "name", "is 'thrice', the folder is 'twice'"),
        ("max_batch_size: -1", "max_batch_size", "negative"),
        ('default_model_filename: "model.plan"', "default_model_filename", "no ONNX model"),
        ('default_model_filename: "../../x.onnx"', "file", "must be a relative path"),
        ("sequence_batching { }", "sequence_batching", "is not supported"),
        ("ensemble_scheduling { }", "ensemble_scheduling", "is not supported"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled", "is not supported"),
        ('model_operations { op_library_filename: "x.so" }', "model_operations", "is not supported"),
        ('input { name: "x" dims: [1] }', "input[0].data_type", "is missing"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }', "input[0].reshape", "supported"),
        ('input { name: "x" data_type: TYPE_FP32 optional: true }', "input[0].optional", "is not supported"),
        ('input { name: "x" data_type: TYPE_FP32 allow_ragged_batch: true }', "input[0].allow_ragged", "supported"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [-2] }', "inputs.0.shape", "greater than or equal to -1"),
        ('output { name: "y" data_type: TYPE_FP32 is_shape_tensor: true }', "output[0].is_shape_tensor", "supported"),
        ('output { name: "y" data_type: TYPE_FP32 label_filename: "no.txt" }', "output[0].label_filename", "cannot be"),
        ('output { name: "y" data_type: TYPE_FP32 label_filename: "../x" }', "output[0].label_filename", "cannot be"),
        ("instance_group { kind: KIND_CPU } instance_group { kind: KIND_GPU }", "instance_group", "cpu and cuda:0"),
        ("instance_group { gpus: [ 0, 1 ] }", "instance_group[0].gpus", "names 2 GPUs"),
        ("version_policy { specific { } }", "version_policy.specific.versions", "is empty"),
        ("dynamic_batching { max_queue_delay_microseconds: 61000000 }", "dynamic_batching.max_wait_s", "60"),
        ("max_batch_size: 2000000", "dynamic_batching.max_batch_rows", "1000000"),
    ],
)
def test_what_cannot_be_served_is_refused_by_field(text: str, field: str, message: str) -> None:
    """Never a silent difference from what Triton would answer."""
    with pytest.raises(BundleError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"config.pbtxt.{field}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (
            b"max_batch_size: 8\nmax_wait: 3",
            'config.pbtxt: line 2:1 : Message type "inference.ModelConfig" has no field',
        ),
        (b"max_batch_size: eight", "line 1:17"),
        (b"input [ { name: ", "config.pbtxt: line 1"),
        (b"\xff", "not valid UTF-8"),
        (b"#" * (MAX_CONFIG_BYTES + 1), "has more than"),
    ],
)
def test_texts_that_are_no_configuration_are_refused_by_line(raw: bytes, text: str) -> None:
    """Unknown fields and wrong values are found by line and column."""
    with pytest.raises(BundleError) as caught:
        read_config("twice", raw, reader({}))
    assert text in str(caught.value)


def test_version_policies() -> None:
    """The newest n, all, or some; only integers are versions."""
    versions = ["1", "2", "10", "canary"]
    assert VersionPolicy().served(versions) == ["10"]
    assert VersionPolicy(latest=2).served(versions) == ["2", "10"]
    assert VersionPolicy(every=True).served(versions) == ["1", "2", "10"]
    assert VersionPolicy(chosen=("2", "7")).served(versions) == ["2"]
    assert VersionPolicy().served([]) == []


@pytest.mark.parametrize(
    ("config", "batch", "batched"),
    [
        ('backend: "onnxruntime" max_batch_size: 4', "rows", True),
        ("", "rows", True),
        (None, "rows", True),
        (None, 2, False),
        ('input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }', "rows", False),
    ],
)
def test_the_models_run(tmp_path: Path, config: str | None, batch: int | str, batched: bool) -> None:
    """ONNX Runtime serves the definition, batched or not as Triton would have it."""
    folder = write_triton(tmp_path, "twice", config)
    (folder / "1" / "model.onnx").write_bytes(doubling_model(batch).SerializeToString())
    runtime = create("onnx")
    signature = runtime.load(open_bundle(folder, "1"))
    assert signature.batched is batched
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(runtime.predict({"x": x})["y"], 2 * x)
    runtime.close()
