import asyncio

import pytest
from google.protobuf import json_format
from pydantic import SecretStr

from protos import admin_pb2
from router.edge.rest.table import rules
from router.settings import Link, RouterSettings
from tests.router.edge.rest.rig import Caller, FakeWorker, make_core, model, tensor


def test_root_lists_every_route() -> None:
    """For people with curl; KServe's v1 clients look for "alive"."""

    async def run() -> None:
        answer = await Caller(make_core()).get("/")
        assert answer.json["status"] == "alive"
        assert answer.json["routes"].keys() == {f"{rule.method} {rule.template}" for rule in rules()}
        assert all(answer.json["routes"].values())
        assert b"\n" in answer.body

    asyncio.run(run())


def test_status_is_the_admin_message() -> None:
    """A client may parse it back into the message it is."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model("m", [tensor("x", "FP32", 1)]))
        answer = await Caller(core).get("/admin/v1/status")
        status = json_format.Parse(answer.body, admin_pb2.StatusResponse())
        assert status.models[0].name == "m"
        assert status.workers[0].name == "worker"

    asyncio.run(run())


def test_meta_routes_have_apollos_form() -> None:
    """Info, configuration and endpoints."""

    async def run() -> None:
        caller = Caller(make_core())
        info = (await caller.get("/_meta/0/info")).json
        assert info["componentId"] == "router"
        assert info["serviceUptime"] >= 0
        endpoints = (await caller.get("/_meta/0/endpoints")).json["endpoints"]
        assert {"uri": "/v2", "method": ["GET"]}.items() <= next(e for e in endpoints if e["uri"] == "/v2").items()
        assert len(endpoints) == len(rules())

    asyncio.run(run())


def test_secrets_are_hidden() -> None:
    """The settings in effect are shown without them."""

    async def run() -> None:
        settings = RouterSettings(link=Link(token=SecretStr("hush")))
        answer = await Caller(make_core(settings)).get("/_meta/0/config")
        assert b"hush" not in answer.body
        assert answer.json["config"]["link"]["token"] == "*" * 10
        assert answer.json["config"]["limits"]["max_json_depth"] == 32

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/v2/cudasharedmemory/status", "system shared memory"),
        ("GET", "/v2/cudasharedmemory/region/r/status", "shared memory"),
        ("POST", "/v2/cudasharedmemory/region/r/register", "shared memory"),
        ("POST", "/v2/cudasharedmemory/unregister", "shared memory"),
        ("GET", "/v2/trace/setting", "traceparent"),
        ("POST", "/v2/models/m/trace/setting", "traceparent"),
        ("GET", "/v2/logging", "router.log_level"),
    ],
)
def test_what_is_not_offered_says_why(method: str, path: str, reason: str) -> None:
    """501 and a reason; not 404, which would look like a wrong path."""

    async def run() -> None:
        answer = await Caller(make_core()).send(method, path, b"{}")
        assert (answer.status, reason in answer.error) == (501, True)

    asyncio.run(run())
