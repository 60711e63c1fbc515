import asyncio
import logging

import pytest

from router.edge.rest.app import refusal
from router.edge.rest.routing import WrongMethod
from router.settings import Limits, RouterSettings
from serving import errors
from tests.router.edge.rest.rig import Caller, FakeWorker, make_core, model, tensor, within


def every_error() -> list[errors.DodonaError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DodonaError)]
    return [kind("what is wrong", field="where", remedy="what to do") for kind in kinds]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_its_status_and_text(error: errors.DodonaError) -> None:
    """One table for all: the status of the error, the text as it is."""
    response = refusal(error)
    assert response.status == error.http_status
    assert response.body == b'{"error":"where: what is wrong; what to do"}'


def test_shed_says_when_to_come_again() -> None:
    """Retry-After is whole seconds, at least one; where waiting does not help it is not there."""
    assert (b"retry-after", b"3") in refusal(errors.Shed("busy", retry_after_s=2.1)).headers
    assert (b"retry-after", b"1") in refusal(errors.Shed("busy")).headers
    assert (b"retry-after", b"1") in refusal(errors.Unavailable("away", retry_after_s=0.2)).headers
    assert b"retry-after" not in dict(refusal(errors.TooLarge("long")).headers)


def test_wrong_method_carries_allow() -> None:
    """405 without Allow would be against HTTP."""
    assert (b"allow", b"GET") in refusal(WrongMethod("PUT", "/", "GET")).headers


def test_request_id_is_echoed() -> None:
    """The caller's, if it is fit for a header, else a new one; on errors too."""

    async def run() -> None:
        caller = Caller(make_core())
        assert (await caller.get("/v2", x_request_id="abc-1")).headers["x-request-id"] == "abc-1"
        assert (await caller.get("/nowhere", x_request_id="abc-1")).headers["x-request-id"] == "abc-1"
        made = [(await caller.get("/v2", x_request_id=bad)).headers["x-request-id"] for bad in ("", "a b", "x" * 500)]
        assert len(set(made)) == 3
        assert all(made)

    asyncio.run(run())


def test_options_lists_methods_of_a_path() -> None:
    """204 without a body, and Allow; 404 where there is nothing."""

    async def run() -> None:
        caller = Caller(make_core())
        answer = await caller.send("OPTIONS", "/v2/models/m/infer")
        assert (answer.status, answer.headers["allow"], answer.body) == (204, "OPTIONS, POST", b"")
        assert "content-length" not in answer.headers
        assert (await caller.send("OPTIONS", "/v2")).headers["allow"] == "GET, HEAD, OPTIONS"
        assert (await caller.send("OPTIONS", "/nowhere")).status == 404

    asyncio.run(run())


def test_routing_errors_reach_the_caller() -> None:
    """404 with the path and what is near, 405 with Allow, 400 for bad percent-encoding."""

    async def run() -> None:
        caller = Caller(make_core())
        answer = await caller.get("/v2/modls")
        assert (answer.status, "/v2/modls" in answer.error, "/v2/models" in answer.error) == (404, True, True)
        answer = await caller.post("/v2/health/live")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert (await caller.get("/v2/models/%zz")).status == 400
        assert (await caller.send("HEAD", "/v2")).status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", "application/grpc+proto", "application/x-protobuf", "text/xml", "image/png"],
)
def test_foreign_content_types_are_refused(content_type: str) -> None:
    """415 and what to send, rather than a complaint about malformed JSON."""

    async def run() -> None:
        answer = await Caller(make_core()).post("/v2/models/m/infer", b"...", content_type=content_type)
        assert answer.status == 415
        assert "application/json" in answer.error

    asyncio.run(run())


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"],
)
def test_common_content_types_are_json(content_type: str) -> None:
    """`curl -d` and old clients say all sorts of things about JSON."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, model("m", [tensor("x", "FP32", 1)]))
        answer = await Caller(core).post("/v1/models/m:predict", {"instances": [1]}, content_type=content_type)
        assert answer.status == 200

    asyncio.run(run())


def test_body_limits_reach_the_caller() -> None:
    """413 naming the setting, 408, 415 and 400 come from where the body is read."""

    async def run() -> None:
        caller = Caller(make_core(RouterSettings(limits=Limits(max_message_bytes=100))))
        answer = await caller.post("/v2/models/m/infer", bytes(101), content_length="101")
        assert (answer.status, "router.limits.max_message_bytes" in answer.error) == (413, True)
        answer = await caller.send("POST", "/v2/models/m/infer", bytes(60), bytes(60))
        assert answer.status == 413
        assert (await caller.post("/v2/models/m/infer", b"{}", content_encoding="br")).status == 415
        assert (await caller.post("/v2/models/m/infer", b"{}", content_encoding="gzip")).status == 400

    asyncio.run(run())


def test_fault_of_ours_shows_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the request id, the log the exception under the same id."""

    async def run() -> None:
        core = make_core()
        del core.listeners  # a core that cannot answer
        answer = await Caller(core).get("/v2/health/ready", x_request_id="abc-1")
        assert answer.status == 500
        assert answer.error == "a fault of the server; quote the request id abc-1"

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert caplog.records[0].exc_info is not None
    assert vars(caplog.records[0])["request_id"] == "abc-1"


def test_caller_that_leaves_withdraws_its_inference() -> None:
    """The worker is told, the router forgets the request, nothing is left running."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, model("m", [tensor("x", "FP32", 1)]), on_job=None)
        caller = Caller(core)
        request = asyncio.create_task(caller.post("/v1/models/m:predict", {"instances": [1]}))
        job = await worker.job()
        caller.leave()
        assert await within(worker.cancelled.get()) == job.number
        with pytest.raises(ConnectionError):
            await within(request)
        assert core.dispatcher.in_flight == 0
        job.echo()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_caller_that_leaves_the_infer_route_withdraws_its_inference() -> None:
    """The hot path has no task to cancel; the worker is told all the same, and a late answer hurts nobody."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, model("m", [tensor("x", "FP32", 1)]), on_job=None)
        caller = Caller(core)
        tensors = [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]
        request = asyncio.create_task(caller.post("/v2/models/m/infer", {"inputs": tensors}))
        job = await worker.job()
        caller.leave()
        assert await within(worker.cancelled.get()) == job.number
        with pytest.raises(ConnectionError):
            await within(request)
        assert core.dispatcher.in_flight == 0
        job.echo()

    asyncio.run(run())
