import pytest
from google.protobuf import text_format

from protos.model_config_pb2 import ModelConfig
from serving.bundle.definition import Batching, ModelDefinition, ResponseCache
from serving.bundle.model_config import model_config
from serving.bundle.triton import TYPE_NAMES
from serving.spec import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (3,)), TensorSpec("t", "BYTES", ())), (TensorSpec("y", "INT64", (-1,)),))


def definition(**settings: object) -> ModelDefinition:
    return ModelDefinition(name="pets", framework="onnx", **settings)  # type: ignore[arg-type]


def expected(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def test_a_batched_model_is_described_as_perf_analyzer_expects_it() -> None:
    """Dims without the batch, the greatest batch, dynamic batching, backend and versions."""
    batching = Batching(max_batch_rows=32, max_wait_s=0.002)
    assert model_config(definition(batching=batching), SIGNATURE, ["10", "2"]) == expected(
        """
        name: "pets" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 32
        input { name: "x" data_type: TYPE_FP32 dims: 3 } input { name: "t" data_type: TYPE_STRING }
        output { name: "y" data_type: TYPE_INT64 dims: -1 }
        dynamic_batching { max_queue_delay_microseconds: 2000 }
        instance_group { name: "pets_0" count: 1 kind: KIND_AUTO }
        version_policy { specific { versions: 2 versions: 10 } }
        """
    )


def test_kept_answers_are_told_in_tritons_words() -> None:
    """`response_cache { enable: true }`, as a config.pbtxt would have it."""
    kept = definition(response_cache=ResponseCache(enabled=True))
    assert model_config(kept, SIGNATURE, ["1"]).response_cache.enable
    assert not model_config(definition(), SIGNATURE, ["1"]).HasField("response_cache")


def test_a_model_that_does_not_batch_has_its_whole_shape_and_no_batch_size() -> None:
    """Zero is Triton's word for no batching."""
    signature = Signature((TensorSpec("x", "FP32", (-1, 3)),), (), batched=False)
    config = model_config(definition(), signature, ["1"])
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [-1, 3]
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize(("device", "kind", "gpus"), [("cpu", 2, []), ("cuda:3", 1, [3]), ("auto", 0, [])])
def test_the_device_is_the_instance_group(device: str, kind: int, gpus: list[int]) -> None:
    """One group, on the device the definition asks for."""
    [group] = model_config(definition(device=device), SIGNATURE, ["1"]).instance_group
    assert (group.kind, list(group.gpus)) == (kind, gpus)


def test_versions_that_are_no_numbers_are_all_versions() -> None:
    """Triton's policy can name only integers."""
    policy = model_config(definition(), SIGNATURE, ["2024-01-31", "1"]).version_policy
    assert policy.WhichOneof("policy_choice") == "all"


def test_other_frameworks_are_their_own_backend() -> None:
    """Every datatype has Triton's name."""
    config = model_config(ModelDefinition(name="pets", framework="xgboost"), SIGNATURE, [])
    assert (config.backend, config.platform) == ("xgboost", "xgboost")
    signature = Signature(tuple(TensorSpec(name, name, ()) for name in TYPE_NAMES), ())
    types = [tensor.data_type for tensor in model_config(definition(), signature, []).input]
    assert len(set(types)) == len(TYPE_NAMES)
    assert 0 not in types
