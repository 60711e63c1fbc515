"""Clients that Dodona did not write: tritonclient.http, sync and aio, and KServe's InferenceRESTClient."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.conformance.rest_http import Models, arrays_for

ROOT = Path(__file__).parents[2]


def _inputs(metadata: Any, binary: bool = True) -> list[triton.InferInput]:
    tensors = []
    for entry in metadata["inputs"]:
        array = arrays_for(metadata)[entry["name"]]
        tensor = triton.InferInput(entry["name"], list(array.shape), entry["datatype"])
        tensors.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return tensors


def triton_describes(base_url: str, models: Models) -> None:
    with triton.InferenceServerClient(urlsplit(base_url).netloc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata()["name"] == "dodona"
        assert set(models) <= {entry["name"] for entry in client.get_model_repository_index()}
        assert client.get_inference_statistics()["model_stats"]
        for model in models:
            assert client.is_model_ready(model)
            version = client.get_model_metadata(model)["versions"][-1]
            assert client.is_model_ready(model, version)
            assert client.get_model_config(model, version)["name"] == model
            assert client.get_inference_statistics(model, version)["model_stats"][0]["version"] == version
        assert not client.is_model_ready("no-such-model")
        with pytest.raises(InferenceServerException, match=r"shared memory"):
            client.get_cuda_shared_memory_status()


def triton_infers(base_url: str, models: Models) -> None:
    """Binary and JSON both ways, compressed both ways, and all forms agree."""
    with triton.InferenceServerClient(urlsplit(base_url).netloc, concurrency=4) as client:
        for model in models:
            metadata = client.get_model_metadata(model)
            names = [output["name"] for output in metadata["outputs"]]
            results = [client.infer(model, _inputs(metadata), request_id="7")]
            for binary in (True, False):
                wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
                results += [
                    client.infer(
                        model,
                        _inputs(metadata, binary),
                        outputs=wanted,
                        request_compression_algorithm=packing,
                        response_compression_algorithm=packing,
                    )
                    for packing in (None, "gzip", "deflate")
                ]
            pending = [client.async_infer(model, _inputs(metadata)) for _ in range(8)]
            results += [one.get_result() for one in pending]
            assert results[0].get_response()["id"] == "7"
            for output in metadata["outputs"]:
                shape = results[0].get_output(output["name"])["shape"]
                expected = results[0].as_numpy(output["name"])
                for result in results:
                    values = result.as_numpy(output["name"])
                    if output["datatype"] == "BYTES":  # from JSON it comes as texts, from binary as bytes
                        values = np.array([_text(value) for value in values.ravel()]).reshape(shape)
                        expected = np.array([_text(value) for value in expected.ravel()]).reshape(shape)
                    np.testing.assert_array_equal(values, expected)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def triton_errors(base_url: str, models: Models) -> None:
    """The client shows the server's text and status, and goes on with the same connection."""
    with triton.InferenceServerClient(urlsplit(base_url).netloc) as client:
        metadata = client.get_model_metadata(models[0])
        inputs = _inputs(metadata)
        with pytest.raises(InferenceServerException, match="no-such-model") as failure:
            client.infer("no-such-model", inputs)
        assert failure.value.status() == "404"
        with pytest.raises(InferenceServerException, match="no-such-output"):
            client.infer(models[0], inputs, outputs=[triton.InferRequestedOutput("no-such-output")])
        with pytest.raises(InferenceServerException, match="no-such-model"):
            client.get_model_metadata("no-such-model")
        assert client.infer(models[0], inputs).get_response()["model_name"] == models[0]


def triton_aio_infers(base_url: str, models: Models) -> None:
    async def walk() -> None:
        async with triton_aio.InferenceServerClient(urlsplit(base_url).netloc) as client:
            assert await client.is_server_ready()
            for model in models:
                metadata = await client.get_model_metadata(model)
                results = await asyncio.gather(*[client.infer(model, _inputs(metadata)) for _ in range(8)])
                name = metadata["outputs"][0]["name"]
                for result in results:
                    np.testing.assert_array_equal(result.as_numpy(name), results[0].as_numpy(name))
            with pytest.raises(InferenceServerException, match="no-such-model"):
                await client.get_model_config("no-such-model")

    asyncio.run(walk())


def kserve_infers(base_url: str, models: Models) -> None:
    """KServe's client, in a process of its own (tests/conformance/rest_kserve.py says why)."""
    command = [sys.executable, "-m", "tests.conformance.rest_kserve", base_url, *models]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
