"""grpc.health.v1 over a real core."""

import asyncio

import pytest
from grpc_health.v1 import health_pb2

from protos import link_pb2
from router.core import Core
from router.edge.grpc.methods import methods
from router.front.calls import Stream
from serving.errors import ModelNotFound, Unavailable
from tests.router.edge.grpc.rig import FakeAgent, FakeStreamCall, FakeWorker, call, make_core, within

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
STATUS = health_pb2.HealthCheckResponse


def asked(name: str) -> bytes:
    return bytes(health_pb2.HealthCheckRequest(service=name).SerializeToString())


async def check(core: Core, name: str) -> int:
    return int(STATUS.FromString(await call(core, CHECK, asked(name))).status)


def watched(core: Core, name: str) -> tuple[FakeStreamCall, asyncio.Task[None]]:
    method = methods(core)[WATCH]
    assert isinstance(method, Stream)
    stream = FakeStreamCall(WATCH)
    stream.push(asked(name))
    stream.half_close()
    return stream, asyncio.ensure_future(method.run(stream))


async def seen(stream: FakeStreamCall) -> int:
    return int(STATUS.FromString(await stream.next()).status)


def test_router_services_and_models_have_a_health() -> None:
    """The empty name and our services follow readiness, a model's name follows the model."""

    async def run() -> None:
        core = make_core()
        FakeAgent(core).index(
            link_pb2.IndexEntry(name="broken", version="1", state=link_pb2.STATE_FAILED, reason="bad digest")
        )
        assert await check(core, "broken") == STATUS.NOT_SERVING
        FakeWorker(core)
        for name in ("", "inference.GRPCInferenceService", "dodona.admin.v1.Admin", "echo"):
            assert await check(core, name) == STATUS.SERVING
        with pytest.raises(ModelNotFound, match="nothing-such"):
            await check(core, "nothing-such")

    asyncio.run(run())


def test_nothing_is_serving_without_models_or_while_draining() -> None:
    """A balancer must look elsewhere."""

    async def run() -> None:
        core = make_core()
        assert await check(core, "") == STATUS.NOT_SERVING
        FakeWorker(core)
        core.dispatcher.drain(lambda: None)
        assert await check(core, "") == STATUS.NOT_SERVING
        assert await check(core, "echo") == STATUS.NOT_SERVING

    asyncio.run(run())


def test_watch_tells_each_change_and_ends_with_the_drain() -> None:
    """The state now, then every change; when the router drains, NOT_SERVING and the end."""

    async def run() -> None:
        core = make_core()
        stream, task = watched(core, "echo")
        assert await seen(stream) == STATUS.SERVICE_UNKNOWN
        FakeWorker(core)
        assert await seen(stream) == STATUS.SERVING
        core.dispatcher.drain(lambda: None)
        assert await seen(stream) == STATUS.NOT_SERVING
        with pytest.raises(Unavailable, match="draining"):
            await within(task)

    asyncio.run(run())


def test_watch_ends_when_the_caller_goes() -> None:
    """The front cancels it and it goes at once."""

    async def run() -> None:
        stream, task = watched(make_core(), "")
        assert await seen(stream) == STATUS.NOT_SERVING
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(task)

    asyncio.run(run())
