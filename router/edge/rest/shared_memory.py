"""The shared memory extension over REST: status, register, unregister."""

from typing import Any

from protos import inference_pb2
from router.edge import shared_memory
from router.edge.rest.exchange import Request, Response, as_json
from router.edge.rest.parameters import mapping
from router.edge.rest.plain import plain
from serving.errors import InvalidRequest


async def status(request: Request) -> Response:
    """A bare list of regions, as in Triton."""
    found = shared_memory.status(request.core, request.arguments.get("region", ""))
    return as_json([plain(region) for _, region in sorted(found.regions.items())])


async def register(request: Request) -> Response:
    document = mapping(await request.json(), "body")
    key = document.get("key")
    if not isinstance(key, str):
        raise InvalidRequest("must be a string", field="key", remedy="send the name given to shm_open")
    shared_memory.register(
        request.core,
        inference_pb2.SystemSharedMemoryRegisterRequest(
            name=request.arguments["region"],
            key=key,
            offset=_count(document, "offset"),
            byte_size=_count(document, "byte_size"),
        ),
    )
    return Response()


async def unregister(request: Request) -> Response:
    shared_memory.unregister(request.core, request.arguments.get("region", ""))
    return Response()


def _count(document: dict[str, Any], name: str) -> int:
    value = document.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidRequest("must be a whole number of bytes", field=name, remedy="send 0 or more")
    return value
