"""Reflection answers, read as clients read them."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from protos import inference_pb2
from router.edge.grpc.methods import SERVICES
from router.edge.grpc.reflection import Answers
from serving.errors import InvalidRequest
from serving.status import Status

ANSWERS = Answers(SERVICES)


def asked(**fields: Any) -> Any:
    request = reflection_pb2.ServerReflectionRequest(host="h", **fields)
    response = reflection_pb2.ServerReflectionResponse.FromString(ANSWERS.answer(request.SerializeToString()))
    assert response.original_request == request
    return response


def files(response: Any) -> list[descriptor_pb2.FileDescriptorProto]:
    parts = response.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(part) for part in parts]


def test_all_services_are_listed() -> None:
    """What grpcurl prints for `list`."""
    names = [service.name for service in asked(list_services="").list_services_response.service]
    assert names == [
        "dodona.admin.v1.Admin",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_every_listed_service_can_be_described(service: str) -> None:
    """The file that defines it comes with all it imports, so that a client can link it in an empty pool."""
    found = files(asked(file_containing_symbol=service))
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(found):
        pool.Add(file)
    assert pool.FindServiceByName(service).methods


@pytest.mark.parametrize(
    "symbol",
    [
        "inference.GRPCInferenceService.ModelInfer",
        "inference.ModelInferRequest",
        "inference.ModelInferRequest.InferInputTensor",
        "inference.ModelInferRequest.model_name",
        "inference.InferParameter.parameter_choice",
        ".inference.ModelInferResponse",
    ],
)
def test_symbols_of_every_kind_are_found(symbol: str) -> None:
    """Method, message, nested message, field, oneof; with or without a leading dot."""
    assert files(asked(file_containing_symbol=symbol))[0].name == "protos/inference.proto"


@pytest.mark.parametrize(
    "symbol",
    ["inference.DataType", "inference.TYPE_FP32", "inference.ModelInput.Format", "inference.ModelInput.FORMAT_NCHW"],
)
def test_enums_and_their_values_are_found(symbol: str) -> None:
    """Values are siblings of their enum."""
    assert [file.name for file in files(asked(file_containing_symbol=symbol))] == ["protos/model_config.proto"]


def test_a_file_is_found_by_name() -> None:
    """With its imports behind it."""
    found = files(asked(file_by_filename="protos/inference.proto"))
    assert [file.name for file in found] == ["protos/inference.proto", "protos/model_config.proto"]


def test_messages_built_from_the_answer_are_compatible() -> None:
    """What a dynamic client builds parses what the server writes."""
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files(asked(file_containing_symbol="inference.ModelInferRequest"))):
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))
    ours = inference_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"x"])
    theirs: Any = kind.FromString(ours.SerializeToString())
    assert theirs.model_name == "m"
    assert theirs.SerializeToString() == ours.SerializeToString()


@pytest.mark.parametrize(
    "question",
    [
        {"file_containing_symbol": "inference.Nothing"},
        {"file_by_filename": "nothing.proto"},
        {"file_containing_symbol": "google.protobuf.FileDescriptorProto"},
        {"all_extension_numbers_of_type": "inference.Nothing"},
        {
            "file_containing_extension": reflection_pb2.ExtensionRequest(
                containing_type="inference.ModelInferRequest", extension_number=100
            )
        },
    ],
)
def test_what_is_not_served_is_not_found(question: dict[str, Any]) -> None:
    """NOT_FOUND as an answer, which leaves the stream open; other files of the process stay private."""
    error = asked(**question).error_response
    assert error.error_code == Status.NOT_FOUND
    assert error.error_message


def test_a_known_type_has_no_extensions() -> None:
    """An empty list, which is the truth."""
    response = asked(all_extension_numbers_of_type="inference.ModelInferRequest")
    assert response.all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
    assert not response.all_extension_numbers_response.extension_number


def test_an_empty_question_is_invalid() -> None:
    """INVALID_ARGUMENT, saying what to set."""
    assert asked().error_response.error_code == Status.INVALID_ARGUMENT


def test_malformed_protobuf_is_invalid() -> None:
    """It ends the call."""
    with pytest.raises(InvalidRequest, match="ServerReflectionRequest"):
        ANSWERS.answer(b"\xff\xff")
