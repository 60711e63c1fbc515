"""Checks of what is refused: code, text, and that the connection lives on."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from protos import inference_pb2 as oip
from tests.conformance.grpc_stubs import (
    OIP,
    Models,
    call,
    connected,
    described,
    every_method,
    path_of,
    refusal,
    request_for,
)

REFUSED = (
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
)


def what_is_not_offered(address: str, models: Models) -> None:
    """UNIMPLEMENTED with the reason and what to do instead, also through tritonclient."""
    with connected(address) as channel:
        for name in REFUSED:
            error = refusal(channel, OIP + name, b"")
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "not offered" in str(error.details())
            assert ";" in str(error.details()), "the remedy is missing"
        for path in ("/inference.GRPCInferenceService/NoSuchMethod", "/no.such.Service/Method"):
            error = refusal(channel, path, b"")
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert path in str(error.details())
    with triton.InferenceServerClient(address) as client:
        for ask in (
            client.get_cuda_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException) as refused:
                ask()
            assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def malformed_messages(address: str, models: Models) -> None:
    """Bytes that are no protobuf: INVALID_ARGUMENT naming the type, on every method; the connection lives on."""
    with connected(address) as channel:
        for method in every_method():
            if method.name in REFUSED or method.client_streaming:
                continue
            error = refusal(channel, path_of(method), b"\xff\xff")
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, method.name
            assert method.input_type.full_name in str(error.details())
        assert call(channel, OIP + "ServerLive", oip.ServerLiveRequest()).live


def _changed(metadata: Any, change: Callable[[Any], object]) -> bytes:
    request = request_for(metadata)
    change(request)
    return request.SerializeToString()


def _drop_raw_byte(request: Any) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def _add_input(request: Any) -> None:
    request.inputs.add(name="extra", datatype="FP32", shape=[1])
    request.raw_input_contents.append(b"\0\0\0\0")


def _drop_input(request: Any) -> None:
    del request.inputs[-1], request.raw_input_contents[-1]


def wrong_requests(address: str, models: Models) -> None:
    """Each fault has its status and a text naming field and remedy; the next request on the connection works."""
    faults: list[tuple[Callable[[Any], object], str, str]] = [
        (lambda request: setattr(request, "model_name", "no-such-model"), "NOT_FOUND", "no-such-model"),
        (lambda request: setattr(request, "model_name", ""), "INVALID_ARGUMENT", "model_name"),
        (lambda request: setattr(request, "model_version", "987654321"), "NOT_FOUND", "987654321"),
        (lambda request: setattr(request.inputs[0], "name", "wrong"), "INVALID_ARGUMENT", "inputs[0].name"),
        (lambda request: setattr(request.inputs[0], "datatype", "WRONG"), "INVALID_ARGUMENT", "inputs[0].datatype"),
        (lambda request: request.inputs[0].shape.append(7), "INVALID_ARGUMENT", "inputs[0].shape"),
        (lambda request: request.inputs[0].shape.__setitem__(0, -1), "INVALID_ARGUMENT", "inputs[0].shape"),
        (_add_input, "INVALID_ARGUMENT", "inputs["),
        (_drop_input, "INVALID_ARGUMENT", "inputs"),
        (_drop_raw_byte, "INVALID_ARGUMENT", "raw_input_contents[0]"),
        (lambda request: request.raw_input_contents.append(b""), "INVALID_ARGUMENT", "raw_input_contents"),
        (lambda request: request.raw_input_contents.__delitem__(slice(None)), "INVALID_ARGUMENT", "inputs[0]"),
        (lambda request: request.inputs[0].contents.fp32_contents.append(1), "INVALID_ARGUMENT", "inputs[0].contents"),
        (lambda request: request.outputs.add(name="no-such-output"), "INVALID_ARGUMENT", "outputs[0].name"),
        (
            lambda request: setattr(request.inputs[0].parameters["shared_memory_region"], "string_param", "r"),
            "INVALID_ARGUMENT",
            "shared_memory_byte_size",
        ),
        (
            lambda request: setattr(request.parameters["timeout"], "string_param", "soon"),
            "INVALID_ARGUMENT",
            "parameters.timeout",
        ),
        (
            lambda request: setattr(request.parameters["priority"], "int64_param", -1),
            "INVALID_ARGUMENT",
            "parameters.priority",
        ),
    ]
    with connected(address) as channel:
        metadata = described(channel, models[0])
        good = request_for(metadata)
        for change, code, words in faults:
            error = refusal(channel, OIP + "ModelInfer", _changed(metadata, change))
            text = str(error.details())
            assert error.code().name == code, text
            assert words in text
            assert ";" in text, f"the remedy is missing: {text}"
            assert call(channel, OIP + "ModelInfer", good).outputs
        # A name that is not UTF-8, which no protobuf library would write.
        bad_name = b"\x0a\x02\xff\xfe"
        error = refusal(channel, OIP + "ModelInfer", bad_name)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        for method in ("ModelMetadata", "ModelConfig", "ModelStatistics"):
            unknown = oip.ModelMetadataRequest(name="no-such-model").SerializeToString()
            assert refusal(channel, OIP + method, unknown).code() is grpc.StatusCode.NOT_FOUND


def bad_repository_requests(address: str, models: Models) -> None:
    """Refused before anything is touched: no name, unknown parameters, uploads, configurations that are no JSON."""
    parameter = oip.ModelRepositoryParameter
    faults: list[tuple[Any, str, str]] = [
        (oip.RepositoryModelLoadRequest(), "INVALID_ARGUMENT", "model_name"),
        (oip.RepositoryModelUnloadRequest(), "INVALID_ARGUMENT", "model_name"),
        (oip.RepositoryIndexRequest(repository_name="r"), "UNIMPLEMENTED", "repository_name"),
    ]
    for key, value, code in (
        ("config", parameter(string_param="{"), "INVALID_ARGUMENT"),
        ("config", parameter(bool_param=True), "INVALID_ARGUMENT"),
        ("colour", parameter(string_param="red"), "INVALID_ARGUMENT"),
        ("file:1/model.onnx", parameter(bytes_param=b"x"), "UNIMPLEMENTED"),
    ):
        request = oip.RepositoryModelLoadRequest(model_name=models[0], parameters={key: value})
        faults.append((request, code, f"parameters.{key}"))
    with connected(address) as channel:
        for request, code, words in faults:
            method = type(request).__name__.removesuffix("Request")
            error = refusal(channel, OIP + method, request.SerializeToString())
            assert error.code().name == code
            assert words in str(error.details())
