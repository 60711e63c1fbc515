"""Descriptions of a core that a worker has joined."""

import asyncio
from importlib.metadata import version

import pytest

from protos import link_pb2
from router.edge import describe
from serving.errors import ModelNotFound, Unavailable
from tests.router.edge.grpc.rig import FakeAgent, FakeWorker, call, infer_request, make_core, model


def test_server_metadata_lists_only_what_works() -> None:
    """Extensions that are refused (shared memory, trace, logging, sequence) are not promised."""

    async def run() -> None:
        answer = describe.server_metadata(make_core())
        assert (answer.name, answer.version) == ("dodona", version("dodona"))
        assert list(answer.extensions) == [
            "classification",
            "model_repository",
            "model_repository(unload_dependents)",
            "schedule_policy",
            "model_configuration",
            "binary_tensor_data",
            "parameters",
            "statistics",
            "system_shared_memory",
        ]

    asyncio.run(run())


def test_model_metadata_shows_the_batch_dimension() -> None:
    """Shapes carry -1 in front where the model is batched, as they travel."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model(version="9"), model(version="10", handle=2))
        answer = describe.model_metadata(core, "echo")
        assert answer.name == "echo"
        assert list(answer.versions) == ["9", "10"]
        assert answer.platform == "onnxruntime_onnx"
        (tensor,) = answer.inputs
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, 2])

    asyncio.run(run())


def test_model_metadata_of_an_unbatched_model_has_the_plain_shape() -> None:
    """No dimension is invented; a framework Triton has no word for keeps its own name."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model(batched=False, framework="xgboost"))
        answer = describe.model_metadata(core, "echo", "1")
        assert list(answer.inputs[0].shape) == [2]
        assert answer.platform == "xgboost"

    asyncio.run(run())


def test_model_config_is_the_announced_one() -> None:
    """The router passes on what the worker said."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        config = describe.model_config(core, "echo").config
        assert (config.name, config.platform, config.max_batch_size) == ("echo", "onnxruntime_onnx", 8)

    asyncio.run(run())


def test_unknown_and_loading_models_are_told_apart() -> None:
    """Unknown is NOT_FOUND; known but not served yet is UNAVAILABLE."""

    async def run() -> None:
        core = make_core()
        FakeAgent(core).index(link_pb2.IndexEntry(name="slow", version="1", state=link_pb2.STATE_LOADING))
        for question in (describe.model_metadata, describe.model_config):
            with pytest.raises(ModelNotFound, match="no-such"):
                question(core, "no-such")
            with pytest.raises(Unavailable, match="slow/1"):
                question(core, "slow")

    asyncio.run(run())


def test_statistics_of_one_version_one_model_and_all() -> None:
    """An empty version means all versions, an empty name all models."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model(version="1"), model(version="2", handle=2), model(name="other", handle=3))
        await call(core, "/inference.GRPCInferenceService/ModelInfer", infer_request(version="2"))

        async def told(name: str = "", version: str = "") -> list[tuple[str, str, int]]:
            whole = await describe.model_statistics(core, name, version)
            return [(row.name, row.version, row.inference_count) for row in whole.model_stats]

        assert await told("echo", "2") == [("echo", "2", 1)]
        assert await told("echo") == [("echo", "1", 0), ("echo", "2", 1)]
        assert await told() == [("echo", "1", 0), ("echo", "2", 1), ("other", "1", 0)]
        with pytest.raises(ModelNotFound):
            await told("no-such")
        with pytest.raises(ModelNotFound):
            await told("echo", "3")

    asyncio.run(run())


def test_index_gives_state_and_reason() -> None:
    """A broken version is listed with its reason, unless only ready ones are asked for."""

    async def run() -> None:
        core = make_core()
        FakeAgent(core).index(
            link_pb2.IndexEntry(name="broken", version="1", state=link_pb2.STATE_FAILED, reason="bad digest")
        )
        FakeWorker(core)
        rows = [(row.name, row.version, row.state, row.reason) for row in describe.repository_index(core).models]
        assert rows == [("broken", "1", "FAILED", "bad digest"), ("echo", "1", "READY", "")]
        assert [row.name for row in describe.repository_index(core, ready_only=True).models] == ["echo"]

    asyncio.run(run())
