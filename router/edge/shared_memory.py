"""The shared memory extension, in the protocol's own messages, for both edges."""

from protos import inference_pb2 as oip
from router.core import Core


def register(core: Core, request: oip.SystemSharedMemoryRegisterRequest) -> oip.SystemSharedMemoryRegisterResponse:
    """Raises InvalidRequest, AlreadyRegistered, TooLarge, Unimplemented."""
    core.shared_memory.registry.register(request.name, request.key, request.offset, request.byte_size)
    return oip.SystemSharedMemoryRegisterResponse()


def unregister(core: Core, name: str) -> oip.SystemSharedMemoryUnregisterResponse:
    """Without a name: all of them, whoever registered them. Raises Unimplemented."""
    core.shared_memory.registry.unregister(name)
    return oip.SystemSharedMemoryUnregisterResponse()


def status(core: Core, name: str) -> oip.SystemSharedMemoryStatusResponse:
    """Raises RegionNotFound, Unimplemented."""
    response = oip.SystemSharedMemoryStatusResponse()
    for found in core.shared_memory.registry.registered(name):
        region = response.regions[found.name]
        region.name, region.key, region.offset, region.byte_size = found.name, found.key, found.offset, found.byte_size
    return response
