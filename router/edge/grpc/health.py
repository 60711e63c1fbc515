"""grpc.health.v1.Health. The service name "" and each service served here stand for the router; any other name is
taken for a model's.

`Check` of a name that is neither answers NOT_FOUND, `Watch` sends SERVICE_UNKNOWN and goes on, as the protocol says.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

from grpc_health.v1 import health_pb2

from router.core import Core
from router.edge.grpc.draining import POLL_INTERVAL_S, drained
from router.edge.grpc.rpc import only_message, parse, plain
from router.front.calls import Methods, Stream, StreamCall
from serving.errors import ModelNotFound

SERVICE: Final = "grpc.health.v1.Health"

_Status: Final = health_pb2.HealthCheckResponse


def health(core: Core, services: Collection[str]) -> Methods:
    """Path -> method; `services` are the names that stand for the router."""

    def check(request: Any) -> Any:
        status = status_of(core, services, request.service)
        if status == _Status.SERVICE_UNKNOWN:
            raise ModelNotFound(
                f"no service and no model is called {request.service!r}",
                field="service",
                remedy='ask for "" (the router), a service or a model',
            )
        return _Status(status=status)

    async def watch(call: StreamCall) -> None:
        name = parse(health_pb2.HealthCheckRequest, await only_message(call)).service
        told = None
        while True:
            draining = core.dispatcher.draining
            status = status_of(core, services, name)
            if status != told:
                await call.send(_Status(status=status).SerializeToString())
                told = status
            if draining:
                raise drained()
            await asyncio.sleep(POLL_INTERVAL_S)

    return {
        f"/{SERVICE}/Check": plain(health_pb2.HealthCheckRequest, check),
        f"/{SERVICE}/Watch": Stream(watch),
    }


def status_of(core: Core, services: Collection[str], name: str) -> int:
    """A HealthCheckResponse.ServingStatus. While the router drains nothing is SERVING."""
    if name == "" or name in services:
        serving = core.ready
    elif core.catalogue.is_ready(name):
        serving = not core.dispatcher.draining
    elif any(entry.name == name for entry in core.catalogue.index()):
        serving = False
    else:
        return int(_Status.SERVICE_UNKNOWN)
    return int(_Status.SERVING if serving else _Status.NOT_SERVING)
