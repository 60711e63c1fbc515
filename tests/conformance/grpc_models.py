"""Checks of the server's and the models' descriptions, and of the model repository."""

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from protos import inference_pb2 as oip
from tests.conformance.grpc_stubs import OIP, Models, call, connected
from tests.conformance.grpc_triton import check_result, inputs_for


def health_and_metadata(address: str, models: Models) -> None:
    """Live, ready, and a list of extensions that holds only what works."""
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        metadata = client.get_server_metadata()
        assert metadata.name == "dodona"
        assert metadata.version
        assert {"binary_tensor_data", "statistics", "model_repository", "classification"} <= set(metadata.extensions)
        unpromised = {"cuda_shared_memory", "trace", "logging", "sequence"}
        assert not unpromised & set(metadata.extensions)


def models_are_described(address: str, models: Models) -> None:
    """Readiness, metadata and configuration of every model agree with each other, by name and by version."""
    with triton.InferenceServerClient(address) as client:
        for name in models:
            assert client.is_model_ready(name)
            metadata = client.get_model_metadata(name)
            assert metadata.name == name
            assert metadata.platform
            assert metadata.inputs
            assert metadata.outputs
            for version in metadata.versions:
                assert client.is_model_ready(name, version)
                assert client.get_model_metadata(name, version).name == name
                config = client.get_model_config(name, version).config
                assert config.name == name
                assert [tensor.name for tensor in config.input] == [tensor.name for tensor in metadata.inputs]
                batch = [-1] if config.max_batch_size else []
                for tensor, described_one in zip(config.input, metadata.inputs, strict=True):
                    assert [*batch, *tensor.dims] == list(described_one.shape)
        assert not client.is_model_ready("no-such-model")
        assert not client.is_model_ready(models[0], "987654321")


def statistics_count(address: str, models: Models) -> None:
    """An inference is counted, for the model and its version, and in the list of all."""
    with triton.InferenceServerClient(address) as client:
        name = models[0]
        metadata = client.get_model_metadata(name)

        def counted() -> int:
            return sum(
                int(row.inference_stats.success.count) for row in client.get_inference_statistics(name).model_stats
            )

        before = counted()
        client.infer(name, inputs_for(metadata))
        assert counted() == before + 1
        (row,) = client.get_inference_statistics(name, metadata.versions[-1]).model_stats
        assert (row.name, row.version) == (name, metadata.versions[-1])
        everything = client.get_inference_statistics().model_stats
        assert set(models) <= {row.name for row in everything}


def the_index_lists_models(address: str, models: Models) -> None:
    """Every ready model is READY in the index."""
    with triton.InferenceServerClient(address) as client:
        ready = {row.name for row in client.get_model_repository_index().models if row.state == "READY"}
        assert set(models) <= ready
    with connected(address) as channel:
        answer = call(channel, OIP + "RepositoryIndex", oip.RepositoryIndexRequest(ready=True))
        assert {row.state for row in answer.models} == {"READY"}


def unload_and_load(address: str, models: Models) -> None:
    """The last model goes and comes back; meanwhile it is UNAVAILABLE with a reason, and the others are served."""
    name = models[-1]
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(name)
        inputs = inputs_for(metadata)
        client.unload_model(name, unload_dependents=True)
        assert not client.is_model_ready(name)
        with pytest.raises(InferenceServerException) as error:
            client.infer(name, inputs)
        assert error.value.status() == "StatusCode.UNAVAILABLE"
        assert name in str(error.value)
        for other in models[:-1]:
            client.infer(other, inputs_for(client.get_model_metadata(other)))
        client.load_model(name)
        assert client.is_model_ready(name)
        check_result(client.infer(name, inputs), metadata, 1)


def load_what_does_not_exist(address: str, models: Models) -> None:
    """NOT_FOUND, naming it."""
    with triton.InferenceServerClient(address) as client:
        for ask in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException) as error:
                ask("no-such-model")
            assert error.value.status() == "StatusCode.NOT_FOUND"
            assert "no-such-model" in str(error.value)
