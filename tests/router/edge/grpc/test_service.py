"""The unary RPCs beside inference, over a real core."""

import asyncio

import pytest

from protos import admin_pb2
from protos import inference_pb2 as oip
from router.edge.grpc.methods import SERVICES, methods
from router.edge.grpc.service import REFUSED
from router.front.calls import Stream, Unary
from serving.errors import InvalidRequest, ModelNotFound, Unavailable, Unimplemented
from serving.status import Status
from tests.router.edge.grpc.rig import FakeAgent, FakeStreamCall, FakeUnaryCall, FakeWorker, call, make_core, within

OIP = "/inference.GRPCInferenceService/"


def test_every_method_of_the_protocol_is_in_the_table() -> None:
    """Each RPC of the services we define has an entry, whatever it answers."""

    async def run() -> None:
        table = methods(make_core())
        for file in (oip.DESCRIPTOR, admin_pb2.DESCRIPTOR):
            for service in file.services_by_name.values():
                assert service.full_name in SERVICES
                assert {f"/{service.full_name}/{method.name}" for method in service.methods} <= set(table)
        assert {path.split("/")[1] for path in table} == set(SERVICES)

    asyncio.run(run())


def test_live_and_ready() -> None:
    """A router without models is live and not ready; with a model that is served it is both."""

    async def run() -> None:
        core = make_core()
        assert oip.ServerLiveResponse.FromString(await call(core, OIP + "ServerLive")).live
        assert not oip.ServerReadyResponse.FromString(await call(core, OIP + "ServerReady")).ready
        FakeWorker(core)
        assert oip.ServerReadyResponse.FromString(await call(core, OIP + "ServerReady")).ready

    asyncio.run(run())


@pytest.mark.parametrize(("name", "version", "ready"), [("echo", "", True), ("echo", "2", False), ("none", "", False)])
def test_model_ready(name: str, version: str, ready: bool) -> None:
    """An unknown model is not ready, which is an answer and no error, as in Triton."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        message = oip.ModelReadyRequest(name=name, version=version).SerializeToString()
        assert oip.ModelReadyResponse.FromString(await call(core, OIP + "ModelReady", message)).ready is ready

    asyncio.run(run())


def test_descriptions_are_answered() -> None:
    """Metadata, configuration, statistics and index come from router.edge.describe."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        metadata = await call(core, OIP + "ModelMetadata", oip.ModelMetadataRequest(name="echo").SerializeToString())
        assert oip.ModelMetadataResponse.FromString(metadata).inputs[0].name == "x"
        config = await call(core, OIP + "ModelConfig", oip.ModelConfigRequest(name="echo").SerializeToString())
        assert oip.ModelConfigResponse.FromString(config).config.max_batch_size == 8
        figures = await call(core, OIP + "ModelStatistics")
        assert oip.ModelStatisticsResponse.FromString(figures).model_stats[0].name == "echo"
        index = await call(core, OIP + "RepositoryIndex", oip.RepositoryIndexRequest(ready=True).SerializeToString())
        assert oip.RepositoryIndexResponse.FromString(index).models[0].state == "READY"
        server = await call(core, OIP + "ServerMetadata")
        assert oip.ServerMetadataResponse.FromString(server).name == "dodona"

    asyncio.run(run())


def test_admin_status() -> None:
    """`dodona status` reads the router's own view of workers and models."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        status = admin_pb2.StatusResponse.FromString(await call(core, "/dodona.admin.v1.Admin/Status"))
        assert [worker.name for worker in status.workers] == ["worker"]
        assert [(row.name, row.state) for row in status.models] == [("echo", "READY")]

    asyncio.run(run())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_offered_says_what_to_do_instead(name: str) -> None:
    """UNIMPLEMENTED with a reason and a remedy, whatever was sent."""

    async def run() -> None:
        with pytest.raises(Unimplemented) as refusal:
            await call(make_core(), OIP + name, b"\xff")
        assert "not offered" in refusal.value.message
        assert refusal.value.remedy

    asyncio.run(run())


def test_malformed_protobuf_names_the_message() -> None:
    """Every method that reads its message answers INVALID_ARGUMENT naming the type it wanted."""

    async def run() -> None:
        core = make_core()
        for service in oip.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if method.name in REFUSED or method.client_streaming:
                    continue
                with pytest.raises(InvalidRequest) as refusal:
                    await call(core, OIP + method.name, b"\xff\xff")
                assert method.input_type.full_name in refusal.value.message
        with pytest.raises(InvalidRequest, match=r"dodona\.admin\.v1\.StatusRequest"):
            await call(core, "/dodona.admin.v1.Admin/Status", b"\xff\xff")
        with pytest.raises(InvalidRequest, match=r"grpc\.health\.v1\.HealthCheckRequest"):
            await call(core, "/grpc.health.v1.Health/Check", b"\xff\xff")

    asyncio.run(run())


def test_the_request_id_is_echoed() -> None:
    """The caller's id, or a new one, on success and on failure."""

    async def run() -> None:
        method = methods(make_core())[OIP + "ServerLive"]
        assert isinstance(method, Unary)
        for message, sent in ((b"", "abc"), (b"\xff", "abc"), (b"", "")):
            one = FakeUnaryCall(OIP + "ServerLive", message, (("x-request-id", sent),) if sent else ())
            method.start(one)
            echoed = (await within(one.answer)).metadata["x-request-id"]
            assert echoed == "abc" if sent else len(str(echoed)) > 4

    asyncio.run(run())


def load_request(**parameters: oip.ModelRepositoryParameter) -> bytes:
    return oip.RepositoryModelLoadRequest(model_name="iris", parameters=parameters).SerializeToString()


def test_load_and_unload_reach_the_agent() -> None:
    """The wish is passed on with its configuration, and answered once the agent says the outcome."""

    async def run() -> None:
        core = make_core()
        agent = FakeAgent(core)
        config = oip.ModelRepositoryParameter(string_param='{"max_batch_size": 4}')
        await call(core, OIP + "RepositoryModelLoad", load_request(config=config))
        unload = oip.RepositoryModelUnloadRequest(model_name="iris")
        unload.parameters["unload_dependents"].bool_param = True
        await call(core, OIP + "RepositoryModelUnload", unload.SerializeToString())
        assert [(wish.name, wish.config) for wish in agent.wishes] == [("iris", '{"max_batch_size": 4}'), ("iris", "")]

    asyncio.run(run())


def test_the_agents_refusal_is_the_answer() -> None:
    """Its status and text come through; without an agent the answer is UNAVAILABLE."""

    async def run() -> None:
        core = make_core()
        with pytest.raises(Unavailable, match="no agent"):
            await call(core, OIP + "RepositoryModelLoad", load_request())
        FakeAgent(core, Status.NOT_FOUND, "no folder called iris")
        with pytest.raises(ModelNotFound, match="no folder called iris"):
            await call(core, OIP + "RepositoryModelLoad", load_request())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "message", "error", "field"),
    [
        ("RepositoryModelLoad", b"", InvalidRequest, "model_name"),
        ("RepositoryModelUnload", b"", InvalidRequest, "model_name"),
        (
            "RepositoryModelLoad",
            oip.RepositoryModelLoadRequest(repository_name="r", model_name="m").SerializeToString(),
            Unimplemented,
            "repository_name",
        ),
        (
            "RepositoryIndex",
            oip.RepositoryIndexRequest(repository_name="r").SerializeToString(),
            Unimplemented,
            "repository_name",
        ),
        (
            "RepositoryModelLoad",
            load_request(config=oip.ModelRepositoryParameter(string_param="{")),
            InvalidRequest,
            "parameters.config",
        ),
        (
            "RepositoryModelLoad",
            load_request(config=oip.ModelRepositoryParameter(string_param="[]")),
            InvalidRequest,
            "parameters.config",
        ),
        (
            "RepositoryModelLoad",
            load_request(config=oip.ModelRepositoryParameter(int64_param=1)),
            InvalidRequest,
            "parameters.config",
        ),
        (
            "RepositoryModelLoad",
            load_request(**{"file:1/model.onnx": oip.ModelRepositoryParameter(bytes_param=b"x")}),
            Unimplemented,
            "parameters.file:1/model.onnx",
        ),
        (
            "RepositoryModelLoad",
            load_request(colour=oip.ModelRepositoryParameter(string_param="red")),
            InvalidRequest,
            "parameters.colour",
        ),
        (
            "RepositoryModelUnload",
            oip.RepositoryModelUnloadRequest(
                model_name="m", parameters={"force": oip.ModelRepositoryParameter(bool_param=True)}
            ).SerializeToString(),
            InvalidRequest,
            "parameters.force",
        ),
    ],
)
def test_bad_repository_requests(
    method: str, message: bytes, error: type[InvalidRequest | Unimplemented], field: str
) -> None:
    """Refused before any agent is asked, naming the field."""

    async def run() -> None:
        core = make_core()
        agent = FakeAgent(core)
        with pytest.raises(error) as refusal:
            await call(core, OIP + method, message)
        assert refusal.value.field == field
        assert refusal.value.remedy
        assert not agent.wishes

    asyncio.run(run())


@pytest.mark.parametrize("count", [0, 2])
def test_a_server_stream_takes_exactly_one_message(count: int) -> None:
    """None or two is the caller's mistake."""

    async def run() -> None:
        core = make_core()
        path = "/grpc.health.v1.Health/Watch"
        method = methods(core)[path]
        assert isinstance(method, Stream)
        stream = FakeStreamCall(path)
        stream.push(*[b""] * count)
        stream.half_close()
        with pytest.raises(InvalidRequest, match="exactly one message"):
            await within(method.run(stream))

    asyncio.run(run())
