import asyncio

import pytest

from protos import link_pb2
from serving.status import Status
from tests.router.edge.rest.rig import Caller, FakeAgent, FakeWorker, make_core, model, tensor


def test_index_is_a_bare_list() -> None:
    """As in Triton: no body needed, what an entry has not is left out, `ready` filters."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model("a", [tensor("x", "FP32", 1)]))
        FakeAgent(core).index(
            link_pb2.IndexEntry(name="a", version="1", state=link_pb2.STATE_READY),
            link_pb2.IndexEntry(name="b", version="1", state=link_pb2.STATE_FAILED, reason="bad digest"),
        )
        caller = Caller(core)
        ready = {"name": "a", "version": "1", "state": "READY"}
        failed = {"name": "b", "version": "1", "state": "FAILED", "reason": "bad digest"}
        assert (await caller.post("/v2/repository/index")).json == [ready, failed]
        assert (await caller.post("/v2/repository/index", {"ready": True})).json == [ready]
        assert (await caller.post("/v2/repository/index", {"ready": 1})).status == 400
        assert (await caller.post("/v2/repository/index", [])).status == 400

    asyncio.run(run())


def test_load_and_unload_reach_the_agent() -> None:
    """With the configuration as the caller wrote it."""

    async def run() -> None:
        core = make_core()
        agent = FakeAgent(core)
        caller = Caller(core)
        answer = await caller.post("/v2/repository/models/m/load", {"parameters": {"config": '{"a": 1}'}})
        assert (answer.status, answer.json) == (200, {"name": "m", "load": True})
        answer = await caller.post("/v2/repository/models/m/unload", {"parameters": {"unload_dependents": True}})
        assert (answer.status, answer.json) == (200, {"name": "m", "unload": True})
        assert (await caller.post("/v2/repository/models/n/load")).status == 200
        assert [(wish.action, wish.name, wish.config) for wish in agent.wishes] == [
            (link_pb2.ACTION_LOAD, "m", '{"a": 1}'),
            (link_pb2.ACTION_UNLOAD, "m", ""),
            (link_pb2.ACTION_LOAD, "n", ""),
        ]

    asyncio.run(run())


def test_refusal_of_the_agent_reaches_the_caller() -> None:
    """Its status and its words."""

    async def run() -> None:
        core = make_core()
        FakeAgent(core, Status.NOT_FOUND, "no folder of that name")
        answer = await Caller(core).post("/v2/repository/models/m/load")
        assert (answer.status, answer.error) == (404, "no folder of that name")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "document", "status", "message"),
    [
        ("models/m/load", None, 503, "no agent"),
        ("models/m/load", {"parameters": {"file:1/model.onnx": "AAAA"}}, 501, "file:1/model.onnx"),
        ("models/m/load", {"parameters": {"config": {"a": 1}}}, 400, "parameters.config"),
        ("models/m/load", {"parameters": {"config": "no json"}}, 400, "parameters.config"),
        ("models/m/load", {"parameters": {"confg": "{}"}}, 400, "parameters.confg"),
        ("models/m/load", {"parameters": {"config": 1.5}}, 400, "parameters.config"),
        ("models/m/load", {"parameters": []}, 400, "parameters"),
        ("models/m/unload", {"parameters": {"unload_dependents": 1}}, 400, "unload_dependents"),
        ("other/models/m/load", None, 501, "repository_name"),
    ],
)
def test_wrong_wishes(path: str, document: object, status: int, message: str) -> None:
    """Refused before any agent hears of them."""

    async def run() -> None:
        answer = await Caller(make_core()).post(f"/v2/repository/{path}", document)
        assert (answer.status, message in answer.error) == (status, True), answer.error

    asyncio.run(run())
