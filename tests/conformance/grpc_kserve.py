"""KServe's Python client against a router: `python -m tests.conformance.grpc_kserve HOST:PORT MODEL...`.

A process of its own, because KServe and tritonclient both bring messages called `inference.*` and cannot share one.
"""

import asyncio
import sys

from kserve import InferenceGRPCClient, InferInput, InferRequest

from tests.conformance.grpc_stubs import arrays_for, connected, described


async def main(address: str, models: list[str]) -> None:
    client = InferenceGRPCClient(address)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    for name in models:
        assert await client.is_model_ready(name)
        with connected(address) as channel:
            metadata = described(channel, name)
        inputs = []
        for tensor, (input_name, array) in zip(metadata.inputs, arrays_for(metadata, 2).items(), strict=True):
            one = InferInput(input_name, list(array.shape), tensor.datatype)
            one.set_data_from_numpy(array)
            inputs.append(one)
        response = await client.infer(InferRequest(name, inputs, request_id="from-kserve"))
        assert response.model_name == name
        assert response.id == "from-kserve"
        assert {output.name for output in response.outputs} == {tensor.name for tensor in metadata.outputs}
        for output in response.outputs:
            assert len(output.as_numpy()) == 2
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
