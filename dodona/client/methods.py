"""The remote calls the client makes: path, request and response type."""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from protos import admin_pb2, inference_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    path: str
    request: type[Request]
    response: type[Response]


AnyMethod = Method[Any, Any]

_OIP: Final = "/inference.GRPCInferenceService/"

SERVER_LIVE: Final = Method(_OIP + "ServerLive", inference_pb2.ServerLiveRequest, inference_pb2.ServerLiveResponse)
SERVER_READY: Final = Method(_OIP + "ServerReady", inference_pb2.ServerReadyRequest, inference_pb2.ServerReadyResponse)
MODEL_READY: Final = Method(_OIP + "ModelReady", inference_pb2.ModelReadyRequest, inference_pb2.ModelReadyResponse)
MODEL_METADATA: Final = Method(
    _OIP + "ModelMetadata", inference_pb2.ModelMetadataRequest, inference_pb2.ModelMetadataResponse
)
MODEL_CONFIG: Final = Method(_OIP + "ModelConfig", inference_pb2.ModelConfigRequest, inference_pb2.ModelConfigResponse)
MODEL_INFER: Final = Method(_OIP + "ModelInfer", inference_pb2.ModelInferRequest, inference_pb2.ModelInferResponse)
MODEL_STREAM_INFER: Final = Method(
    _OIP + "ModelStreamInfer", inference_pb2.ModelInferRequest, inference_pb2.ModelStreamInferResponse
)
MODEL_STATISTICS: Final = Method(
    _OIP + "ModelStatistics", inference_pb2.ModelStatisticsRequest, inference_pb2.ModelStatisticsResponse
)
REPOSITORY_INDEX: Final = Method(
    _OIP + "RepositoryIndex", inference_pb2.RepositoryIndexRequest, inference_pb2.RepositoryIndexResponse
)
REPOSITORY_LOAD: Final = Method(
    _OIP + "RepositoryModelLoad", inference_pb2.RepositoryModelLoadRequest, inference_pb2.RepositoryModelLoadResponse
)
REPOSITORY_UNLOAD: Final = Method(
    _OIP + "RepositoryModelUnload",
    inference_pb2.RepositoryModelUnloadRequest,
    inference_pb2.RepositoryModelUnloadResponse,
)
STATUS: Final = Method("/dodona.admin.v1.Admin/Status", admin_pb2.StatusRequest, admin_pb2.StatusResponse)
