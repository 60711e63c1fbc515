"""KServe's REST client against a router: `python -m tests.conformance.rest_kserve URL MODEL...`.

A process of its own, because KServe and tritonclient both bring messages called `inference.*` and cannot share one.
"""

import asyncio
import sys
from typing import Any

from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig

from tests.conformance.rest_http import Session, arrays_for


async def main(base_url: str, models: list[str]) -> None:
    with Session(base_url) as session:
        metadata = {model: session.get(f"/v2/models/{model}").ok() for model in models}
    await second_version(base_url, metadata)
    await first_version(base_url, metadata)


async def second_version(base_url: str, metadata: dict[str, Any]) -> None:
    """Protocol v2, as binary and as JSON (which the client refuses by itself for FP16)."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(base_url)
    assert await client.is_server_ready(base_url)
    for model, described in metadata.items():
        assert await client.is_model_ready(base_url, model)
        half = any(entry["datatype"] == "FP16" for entry in (*described["inputs"], *described["outputs"]))
        for binary in (True,) if half else (True, False):
            request = InferRequest(
                model, inputs(described, binary), request_id="7", parameters={"binary_data_output": binary}
            )
            response = await client.infer(base_url, request, model_name=model)
            assert response.id == "7"
            assert [output.name for output in response.outputs] == [output["name"] for output in described["outputs"]]
            assert all(len(output.as_numpy()) == 2 for output in response.outputs)
    await client.close()


def inputs(described: Any, binary: bool) -> list[InferInput]:
    arrays = arrays_for(described)
    tensors = []
    for entry in described["inputs"]:
        array = arrays[entry["name"]]
        tensor = InferInput(entry["name"], list(array.shape), entry["datatype"])
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    return tensors


async def first_version(base_url: str, metadata: dict[str, Any]) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1", timeout=30))
    assert await client.is_server_live(base_url)
    for model, described in metadata.items():
        assert await client.is_model_ready(base_url, model)
        columns = {name: array.tolist() for name, array in arrays_for(described).items()}
        instances = [{name: column[row] for name, column in columns.items()} for row in range(2)]
        reply = await client.infer(base_url, {"instances": instances}, model_name=model)
        assert isinstance(reply, dict)
        assert len(reply["predictions"]) == 2
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
