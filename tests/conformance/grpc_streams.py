"""Checks of ModelStreamInfer."""

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from tests.conformance.grpc_stubs import PATIENCE_S, Models, connected, described, request_for, streamed
from tests.conformance.grpc_triton import check_result, inputs_for


def stream_with_the_sync_client(address: str, models: Models) -> None:
    """Answers in order; an error answers its own request and the stream goes on."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(models[0])
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        names = [models[0], "no-such-model", models[0], models[0]]
        for number, name in enumerate(names):
            client.async_stream_infer(name, inputs_for(metadata), request_id=str(number))
        for number, name in enumerate(names):
            result, error = answers.get(timeout=PATIENCE_S)
            if name == models[0]:
                assert error is None
                check_result(result, metadata, 1, str(number))
                assert result.get_response().parameters["triton_final_response"].bool_param
            else:
                assert "no-such-model" in str(error)
        client.stop_stream()


def stream_with_the_aio_client(address: str, models: Models) -> None:
    """tritonclient's asyncio stream, and its cancellation."""

    async def main() -> None:
        async with triton_aio.InferenceServerClient(address) as client:
            metadata = await client.get_model_metadata(models[0])
            asked = 3
            forever = asyncio.Event()

            async def requests(stay: bool) -> AsyncIterator[dict[str, Any]]:
                for number in range(asked):
                    inputs = inputs_for(metadata, 1 + number, triton_aio)
                    yield {"model_name": models[0], "inputs": inputs, "request_id": str(number)}
                if stay:
                    await forever.wait()

            results = client.stream_infer(requests(stay=False), stream_timeout=PATIENCE_S)
            numbers = []
            async for result, error in results:
                assert error is None
                numbers.append(result.get_response().id)
                check_result(result, metadata, len(numbers), numbers[-1])
            assert numbers == ["0", "1", "2"]

            staying = client.stream_infer(requests(stay=True))
            result, error = await anext(staying)
            assert error is None
            assert staying.cancel()
            check_result(await client.infer(models[0], inputs_for(metadata, 1, triton_aio)), metadata, 1)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))


def stream_errors(address: str, models: Models) -> None:
    """error_message carries text, id and model; `triton_grpc_error` turns the first error into the call's status."""
    with connected(address) as channel:
        metadata = described(channel, models[0])
        good = request_for(metadata, number="good").SerializeToString()
        wrong = request_for(metadata, number="wrong")
        wrong.inputs[0].name = "no-such-input"
        messages = [wrong.SerializeToString(), b"\xff\xff", good]
        refused, malformed, answered = list(streamed(channel, messages))
        assert "no-such-input" in refused.error_message
        assert (refused.infer_response.id, refused.infer_response.model_name) == ("wrong", models[0])
        assert "inference.ModelInferRequest" in malformed.error_message
        assert (answered.error_message, answered.infer_response.id) == ("", "good")
        strict = streamed(channel, messages, (("triton_grpc_error", "true"),))
        with pytest.raises(grpc.RpcError) as error:
            list(strict)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no-such-input" in str(error.value.details())


def a_long_stream(address: str, models: Models) -> None:
    """More requests than one stream may have at work at once: all are answered, in order."""
    with connected(address) as channel:
        metadata = described(channel, models[0])
        count = 600
        messages = [request_for(metadata, number=str(number)).SerializeToString() for number in range(count)]
        answers = list(streamed(channel, messages))
        assert [answer.error_message for answer in answers] == [""] * count
        assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(count)]
