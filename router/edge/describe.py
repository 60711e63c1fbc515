"""What the core is and holds, in the protocol's own messages. The gRPC edge serialises them, the REST edge writes them
as JSON, so both say the same.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from protos import admin_pb2, inference_pb2, model_config_pb2
from router.core import Core
from router.processes.status import as_one
from serving.spec import ModelSpec, Signature, TensorSpec, version_key

SERVER_NAME: Final = "dodona"

# Only what works. CUDA shared memory, traces, log settings and sequences are refused (docs/reference/protocol.md).
EXTENSIONS: Final = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)

# Triton's word for a framework where it has one: clients tell models apart by it.
_PLATFORMS: Final = {"onnx": "onnxruntime_onnx"}


@cache
def server_version() -> str:
    """Version of the installed distribution; "0+unknown" when run from a folder that was never installed."""
    try:
        return version("dodona")
    except PackageNotFoundError:
        return "0+unknown"


def server_metadata(core: Core) -> inference_pb2.ServerMetadataResponse:
    """Name, version and the extensions that work."""
    extensions = [*EXTENSIONS, "system_shared_memory"] if core.shared_memory.offered else EXTENSIONS
    return inference_pb2.ServerMetadataResponse(name=SERVER_NAME, version=server_version(), extensions=extensions)


def model_metadata(core: Core, name: str, version: str = "") -> inference_pb2.ModelMetadataResponse:
    """Ready versions, platform and tensors; shapes with -1 for the batch. Raises ModelNotFound, Unavailable."""
    served = core.catalogue.described(name, version)
    signature = served.signature
    return inference_pb2.ModelMetadataResponse(
        name=served.spec.name,
        versions=core.catalogue.versions(served.spec.name),
        platform=_PLATFORMS.get(served.framework, served.framework),
        inputs=[_tensor(signature, tensor) for tensor in signature.inputs],
        outputs=[_tensor(signature, tensor) for tensor in signature.outputs],
    )


def model_config(core: Core, name: str, version: str = "") -> inference_pb2.ModelConfigResponse:
    """The configuration as the worker announced it. Raises ModelNotFound, Unavailable."""
    served = core.catalogue.described(name, version)
    config = model_config_pb2.ModelConfig.FromString(served.config)
    config.name = served.spec.name
    return inference_pb2.ModelConfigResponse(config=config)


async def model_statistics(core: Core, name: str = "", version: str = "") -> inference_pb2.ModelStatisticsResponse:
    """Of the router as a whole: figures of one version, of all versions of a model (no version) or of all models (no
    name), by name and age. Raises ModelNotFound, Unavailable."""
    if name and version:
        pools = [core.catalogue.pool(name, version)]
    else:
        pools = [pool for pool in core.catalogue.pools() if name in ("", pool.spec.name)]
        if name and not pools:
            pools = [core.catalogue.pool(name)]
    pools.sort(key=lambda pool: (pool.spec.name, version_key(pool.spec.version)))
    whole = await core.whole.statistics() or {}
    return inference_pb2.ModelStatisticsResponse(
        model_stats=[whole.get(pool.spec, pool.statistics).model_statistics(pool.spec) for pool in pools]
    )


async def status(core: Core) -> admin_pb2.StatusResponse:
    """Of the router as a whole."""
    statistics = await core.whole.statistics()
    if statistics is None:
        return core.status()
    whole = as_one(core.status(), await core.whole.others_status())
    for model in whole.models:
        figures = statistics.get(ModelSpec(model.name, model.version))
        if figures is not None:
            model.succeeded, model.failed = figures.succeeded, figures.failed
    return whole


def repository_index(core: Core, ready_only: bool = False) -> inference_pb2.RepositoryIndexResponse:
    """Every version that is served or that a repository holds, with its state and the reason if it is not ready."""
    return inference_pb2.RepositoryIndexResponse(
        models=[
            inference_pb2.RepositoryIndexResponse.ModelIndex(
                name=entry.name, version=entry.version, state=entry.state.value, reason=entry.reason
            )
            for entry in core.catalogue.index(ready_only)
        ]
    )


def _tensor(signature: Signature, tensor: TensorSpec) -> inference_pb2.ModelMetadataResponse.TensorMetadata:
    return inference_pb2.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=signature.wire_shape(tensor)
    )
