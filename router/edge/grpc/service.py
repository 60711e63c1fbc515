"""inference.GRPCInferenceService but for the two inference calls (infer.py, stream.py)."""

from typing import Final

from protos import inference_pb2 as oip
from router.core import Core
from router.edge import describe, shared_memory
from router.edge.grpc.rpc import identity, plain, waiting
from router.edge.loading import check_names, check_repository, check_unload, load_config
from router.edge.unoffered import CUDA_SHARED_MEMORY, LOG, TRACE, unoffered
from router.front.calls import Methods, Stream, Unary, UnaryCall

SERVICE: Final = "inference.GRPCInferenceService"

# Method -> why it is refused, and what to do instead.
REFUSED: Final = {
    "CudaSharedMemoryStatus": CUDA_SHARED_MEMORY,
    "CudaSharedMemoryRegister": CUDA_SHARED_MEMORY,
    "CudaSharedMemoryUnregister": CUDA_SHARED_MEMORY,
    "TraceSetting": TRACE,
    "LogSettings": LOG,
}


def service(core: Core) -> Methods:
    """Path -> method."""
    methods: dict[str, Unary | Stream] = {
        "ServerLive": plain(oip.ServerLiveRequest, lambda _: oip.ServerLiveResponse(live=core.live)),
        "ServerReady": plain(oip.ServerReadyRequest, lambda _: oip.ServerReadyResponse(ready=core.ready)),
        "ModelReady": plain(
            oip.ModelReadyRequest,
            lambda request: oip.ModelReadyResponse(ready=core.catalogue.is_ready(request.name, request.version)),
        ),
        "ServerMetadata": plain(oip.ServerMetadataRequest, lambda _: describe.server_metadata(core)),
        "ModelMetadata": plain(
            oip.ModelMetadataRequest, lambda request: describe.model_metadata(core, request.name, request.version)
        ),
        "ModelConfig": plain(
            oip.ModelConfigRequest, lambda request: describe.model_config(core, request.name, request.version)
        ),
        "ModelStatistics": waiting(
            oip.ModelStatisticsRequest, lambda request: describe.model_statistics(core, request.name, request.version)
        ),
        "RepositoryIndex": plain(oip.RepositoryIndexRequest, lambda request: _index(core, request)),
        "RepositoryModelLoad": waiting(oip.RepositoryModelLoadRequest, lambda request: _load(core, request)),
        "RepositoryModelUnload": waiting(oip.RepositoryModelUnloadRequest, lambda request: _unload(core, request)),
        "SystemSharedMemoryStatus": plain(
            oip.SystemSharedMemoryStatusRequest, lambda request: shared_memory.status(core, request.name)
        ),
        "SystemSharedMemoryRegister": plain(
            oip.SystemSharedMemoryRegisterRequest, lambda request: shared_memory.register(core, request)
        ),
        "SystemSharedMemoryUnregister": plain(
            oip.SystemSharedMemoryUnregisterRequest, lambda request: shared_memory.unregister(core, request.name)
        ),
        **{name: refused(why) for name, why in REFUSED.items()},
    }
    return {f"/{SERVICE}/{name}": method for name, method in methods.items()}


def refused(why: tuple[str, str]) -> Unary:
    """A method that always answers UNIMPLEMENTED, whatever it is sent."""

    def start(call: UnaryCall) -> None:
        request_id, _, _ = identity(call.metadata)
        call.fail(unoffered(why), (("x-request-id", request_id),))

    return Unary(start)


def _index(core: Core, request: oip.RepositoryIndexRequest) -> oip.RepositoryIndexResponse:
    check_repository(request.repository_name)
    return describe.repository_index(core, request.ready)


async def _load(core: Core, request: oip.RepositoryModelLoadRequest) -> oip.RepositoryModelLoadResponse:
    check_names(request.repository_name, request.model_name)
    await core.operators.load(request.model_name, load_config(request.parameters))
    return oip.RepositoryModelLoadResponse()


async def _unload(core: Core, request: oip.RepositoryModelUnloadRequest) -> oip.RepositoryModelUnloadResponse:
    check_names(request.repository_name, request.model_name)
    check_unload(request.parameters)
    await core.operators.unload(request.model_name)
    return oip.RepositoryModelUnloadResponse()
