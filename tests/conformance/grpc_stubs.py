"""Raw access to the gRPC services, and inputs that fit a model, for grpc_surface."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from protos import admin_pb2
from protos import inference_pb2 as oip
from serving.spec import NUMPY_DTYPES
from serving.tensors import to_raw

Models = Sequence[str]

OIP = "/inference.GRPCInferenceService/"
PATIENCE_S = 30.0
"""Deadline of every call here; nothing takes that long unless it hangs."""


@contextmanager
def connected(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


def every_method() -> list[MethodDescriptor]:
    """All RPCs of the inference service and of the admin API."""
    services = [
        *oip.DESCRIPTOR.services_by_name.values(),
        *admin_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    return [method for service in services for method in service.methods]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def call(channel: grpc.Channel, path: str, request: Any, metadata: Any = None) -> Any:
    """A unary call with Dodona's own messages, found by the path. Raises grpc.RpcError."""
    (method,) = [one for one in every_method() if path_of(one) == path]
    stub = channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return stub(request, timeout=PATIENCE_S, metadata=metadata)


def refusal(channel: grpc.Channel, path: str, message: bytes, metadata: Any = None) -> grpc.RpcError:
    """The error that a unary call of raw bytes must end with."""
    try:
        reply = channel.unary_unary(path)(message, timeout=PATIENCE_S, metadata=metadata)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"{path} answered {reply!r} where an error was due")


def streamed(channel: grpc.Channel, messages: list[bytes], metadata: Any = None) -> Any:
    """ModelStreamInfer of raw requests; iterate the answers."""
    stub = channel.stream_stream(
        OIP + "ModelStreamInfer", response_deserializer=oip.ModelStreamInferResponse.FromString
    )
    return stub(iter(messages), timeout=PATIENCE_S, metadata=metadata)


def described(channel: grpc.Channel, model: str) -> oip.ModelMetadataResponse:
    answer = call(channel, OIP + "ModelMetadata", oip.ModelMetadataRequest(name=model))
    assert isinstance(answer, oip.ModelMetadataResponse)
    return answer


def arrays_for(metadata: oip.ModelMetadataResponse, rows: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Plain values for every input: the first open extent of a tensor is `rows`, any other is 3."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for tensor in metadata.inputs:
        extents = [3 if extent == -1 else extent for extent in tensor.shape]
        if tensor.shape and tensor.shape[0] == -1:
            extents[0] = rows
        if tensor.datatype == "BYTES":
            array = np.empty(extents, dtype=object)
            array.fill(b"a")
        else:
            array = np.ones(extents, dtype=NUMPY_DTYPES[tensor.datatype])
        arrays[tensor.name] = array
    return arrays


def request_for(
    metadata: oip.ModelMetadataResponse, rows: int = 1, number: str = "", version: str = ""
) -> oip.ModelInferRequest:
    """A request with raw contents that the model must accept; `number` is its id."""
    request = oip.ModelInferRequest(model_name=metadata.name, model_version=version, id=number)
    for tensor, (name, array) in zip(metadata.inputs, arrays_for(metadata, rows).items(), strict=True):
        request.inputs.add(name=name, datatype=tensor.datatype, shape=array.shape)
        request.raw_input_contents.append(to_raw(array))
    return request
