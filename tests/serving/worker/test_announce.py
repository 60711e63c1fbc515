from dataclasses import replace
from pathlib import Path

from protos import link_pb2
from protos.model_config_pb2 import ModelConfig
from serving.runtimes.xgboost import XgboostRuntime
from serving.spec import Signature, TensorSpec
from serving.worker.announce import model_message
from serving.worker.predictor import Predictor
from tests.serving.runtimes.models import booster_file, bundle
from tests.serving.worker.fakes import FakeRuntime


def test_all_that_a_router_needs_to_know(tmp_path: Path) -> None:
    """Names, tensors, limits, labels and Triton's configuration travel in one message."""
    made = bundle(
        tmp_path / "3",
        {},
        framework="echo",
        batching={"max_batch_rows": 16, "max_wait_s": 0.25},
        labels={"stable": "3"},
        default_timeout_s=1.5,
    )
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, 2), ("a", "b")),), (TensorSpec("p", "BYTES", (), labels=("no",)),)
    )
    predictor = Predictor(made.spec, signature, FakeRuntime(), made.definition.batching)
    message = model_message(9, made, predictor, 0.5)
    assert (message.handle, message.name, message.version, message.framework) == (9, "m", "3", "echo")
    assert (message.batched, message.max_batch_rows, message.max_wait_s) == (True, 16, 0.25)
    assert (dict(message.labels), message.default_timeout_s, message.digest) == ({"stable": "3"}, 1.5, "digest")
    (x,), (p,) = message.inputs, message.outputs
    assert (x.name, x.datatype, list(x.shape), list(x.columns)) == ("x", "FP32", [-1, 2], ["a", "b"])
    assert (p.name, p.datatype, list(p.shape), list(p.labels)) == ("p", "BYTES", [], ["no"])
    config = ModelConfig.FromString(message.config)
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("m", 16, [-1, 2])


def test_who_may_share_answers_is_announced(tmp_path: Path) -> None:
    """The terms of model.yaml, and one name for all that decides an answer: files and settings, not labels or owner."""

    def announced(folder: str, digest: str = "d1", **settings: object) -> link_pb2.Model:
        made = replace(bundle(tmp_path / folder, {}, framework="echo", **settings), digest=digest)
        signature = Signature((TensorSpec("x", "FP32", (2,)),), ())
        return model_message(1, made, Predictor(made.spec, signature, FakeRuntime(), made.definition.batching), 0.5)

    plain = announced("1")
    assert (plain.collapse, plain.response_cache.enabled) == (False, False)
    cached = announced("1", response_cache={"enabled": True, "max_bytes": 5000, "ttl_s": 1.5})
    assert cached.collapse
    assert cached.response_cache == link_pb2.ResponseCache(enabled=True, max_bytes=5000, ttl_s=1.5)
    assert announced("1", collapse=True).collapse
    assert plain.content == announced("2", owner="team", labels={"stable": "1"}, description="text").content
    others = [
        announced("1", "d2"),
        announced("1", options={"delay_s": 0.1}),
        announced("1", batching={"enabled": False}),
    ]
    assert len({plain.content, *[other.content for other in others]}) == 4


def test_why_a_model_is_compiled_or_not(tmp_path: Path) -> None:
    """Stands in the configuration that clients can ask for."""
    made = bundle(tmp_path, {"model.ubj": booster_file()}, framework="xgboost", options={"compile": "force"})
    runtime = XgboostRuntime()
    predictor = Predictor(made.spec, runtime.load(made), runtime, made.definition.batching, "xgboost")
    config = ModelConfig.FromString(model_message(1, made, predictor, 0.5).config)
    assert config.parameters["compiled"].string_value == "compiled: onnxruntime for all rows"


def test_without_a_batch(tmp_path: Path) -> None:
    """One row at a time, and no batch in the configuration."""
    made = bundle(tmp_path, {}, framework="echo", batching={"enabled": False})
    signature = Signature((TensorSpec("x", "FP32", (2,)),), (), False)
    message = model_message(1, made, Predictor(made.spec, signature, FakeRuntime(), made.definition.batching), 0.5)
    assert (message.batched, message.max_batch_rows, message.max_wait_s) == (False, 1, 0)
    assert ModelConfig.FromString(message.config).max_batch_size == 0
