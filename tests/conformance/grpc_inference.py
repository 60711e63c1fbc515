"""Checks of ModelInfer."""

import asyncio
import queue
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from protos import inference_pb2 as oip
from tests.conformance.grpc_stubs import OIP, PATIENCE_S, Models, arrays_for, call, connected, described, request_for
from tests.conformance.grpc_triton import check_result, inputs_for

ROOT = Path(__file__).parents[2]


def infer_with_the_sync_client(address: str, models: Models) -> None:
    """One row and several, with and without naming version and outputs, plain and gzipped."""
    with triton.InferenceServerClient(address) as client:
        for name in models:
            metadata = client.get_model_metadata(name)
            for rows in (1, 3):
                result = client.infer(name, inputs_for(metadata, rows), request_id=f"{name}-{rows}")
                check_result(result, metadata, rows, f"{name}-{rows}")
            version = metadata.versions[-1]
            result = client.infer(
                name,
                inputs_for(metadata),
                model_version=version,
                compression_algorithm="gzip",
                client_timeout=PATIENCE_S,
            )
            assert result.get_response().model_version == version
            wanted = metadata.outputs[-1].name
            result = client.infer(name, inputs_for(metadata), outputs=[triton.InferRequestedOutput(wanted)])
            assert [output.name for output in result.get_response().outputs] == [wanted]


def infer_with_callbacks(address: str, models: Models) -> None:
    """Many calls at once on one connection; every caller gets its own answer."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(models[0])
        count = 64
        for number in range(count):
            client.async_infer(
                models[0],
                inputs_for(metadata, 1 + number % 3),
                callback=lambda result, error: answers.put((result, error)),
                request_id=str(number),
            )
        seen = set()
        for _ in range(count):
            result, error = answers.get(timeout=PATIENCE_S)
            assert error is None
            number = result.get_response().id
            check_result(result, metadata, 1 + int(number) % 3, number)
            seen.add(number)
        assert len(seen) == count


def infer_with_the_aio_client(address: str, models: Models) -> None:
    """The same through tritonclient's asyncio client."""

    async def main() -> None:
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_live()
            for name in models:
                metadata = await client.get_model_metadata(name)
                calls = [
                    client.infer(name, inputs_for(metadata, rows, triton_aio), request_id=str(rows))
                    for rows in (1, 2, 3)
                ]
                for rows, result in enumerate(await asyncio.gather(*calls), 1):
                    check_result(result, metadata, rows, str(rows))
            with pytest.raises(InferenceServerException) as error:
                await client.infer("no-such-model", inputs_for(metadata, 1, triton_aio))
            assert error.value.status() == "StatusCode.NOT_FOUND"

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))


def infer_with_kserve(address: str, models: Models) -> None:
    """KServe's own client: health, readiness and inference, in a process of its own (see grpc_kserve)."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.conformance.grpc_kserve", address, *models]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def typed_contents(address: str, models: Models) -> None:
    """Values in InferTensorContents mean what the same values mean raw."""
    fields = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "INT32": "int_contents"}
    fields |= {"BYTES": "bytes_contents", "BOOL": "bool_contents", "UINT8": "uint_contents"}
    with connected(address) as channel:
        for name in models:
            metadata = described(channel, name)
            if any(tensor.datatype not in fields for tensor in metadata.inputs):
                continue
            raw = request_for(metadata, rows=2)
            typed = oip.ModelInferRequest()
            typed.CopyFrom(raw)
            del typed.raw_input_contents[:]
            for tensor, array in zip(typed.inputs, arrays_for(metadata, 2).values(), strict=True):
                getattr(tensor.contents, fields[tensor.datatype]).extend(array.ravel().tolist())
            first, second = (call(channel, OIP + "ModelInfer", request) for request in (raw, typed))
            assert first.raw_output_contents == second.raw_output_contents
            assert first.outputs == second.outputs


def classification(address: str, models: Models) -> None:
    """The output parameter `classification` asks for the best classes as `value:index[:label]`."""
    with triton.InferenceServerClient(address) as client:
        for name in models:
            metadata = client.get_model_metadata(name)
            numeric = [
                tensor for tensor in metadata.outputs if tensor.datatype in ("FP32", "FP64") and tensor.shape[1:]
            ]
            for tensor in numeric:
                output = triton.InferRequestedOutput(tensor.name, class_count=1)
                found = client.infer(name, inputs_for(metadata, 2), outputs=[output]).as_numpy(tensor.name)
                assert found.shape == (2, 1)
                value, index = found[0, 0].decode().split(":")[:2]
                assert float(value) == pytest.approx(float(value))
                assert int(index) >= 0


def request_ids(address: str, models: Models) -> None:
    """x-request-id comes back, in front of an answer and behind an error; a caller that sends none gets one."""
    with connected(address) as channel:
        metadata = described(channel, models[0])
        stub = channel.unary_unary(OIP + "ModelInfer")
        good = request_for(metadata).SerializeToString()
        for message, sent in ((good, "my-id.1"), (good, ""), (b"\xff\xff", "my-id.2")):
            pending = stub.future(message, metadata=(("x-request-id", sent),) if sent else None, timeout=PATIENCE_S)
            fine = pending.exception() is None
            assert fine == (message is good)
            echoed = dict(pending.initial_metadata() if fine else pending.trailing_metadata()).get("x-request-id")
            assert echoed == sent if sent else echoed


def cancelled_and_late_calls(address: str, models: Models) -> None:
    """A caller that goes, or allows no time, harms nobody: the next request is answered."""
    with connected(address) as channel:
        metadata = described(channel, models[0])
        message = request_for(metadata).SerializeToString()
        stub = channel.unary_unary(OIP + "ModelInfer")
        for _ in range(20):
            stub.future(message, timeout=PATIENCE_S).cancel()
        for timeout_s in (0, 1e-6, 1e-4):  # some may be answered all the same
            late = stub.future(message, timeout=timeout_s)
            assert late.exception() is None or late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert stub(message, timeout=PATIENCE_S)
