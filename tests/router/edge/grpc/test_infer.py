"""ModelInfer between a front's call and a worker's answer."""

import asyncio

import pytest

from protos import inference_pb2 as oip
from protos import link_pb2
from router.core import Core
from router.edge.grpc.infer import model_infer
from router.edge.grpc.rpc import identity
from router.front.calls import Metadata
from router.settings import Limits, RouterSettings
from serving.errors import DeadlineExceeded, InvalidRequest, ModelFailed, ModelNotFound, Shed
from serving.status import Status
from tests.router.edge.grpc.rig import FakeUnaryCall, FakeWorker, infer_request, make_core, model, within

PATH = "/inference.GRPCInferenceService/ModelInfer"


def started(core: Core, message: bytes, metadata: Metadata = (), deadline: float | None = None) -> FakeUnaryCall:
    call = FakeUnaryCall(PATH, message, metadata, deadline)
    model_infer(core).start(call)
    return call


def test_a_request_travels_and_its_answer_returns() -> None:
    """The worker gets the very message, the caller the very answer, with the request id as metadata."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        outcome = await within(started(core, infer_request(number="7"), (("x-request-id", "abc"),)).answer)
        response = oip.ModelInferResponse.FromString(outcome.message)
        assert (response.id, response.outputs[0].name) == ("7", "y")
        assert outcome.metadata == {"x-request-id": "abc"}

    asyncio.run(run())


def test_an_id_is_made_where_the_caller_sent_none() -> None:
    """Each request gets its own, so that a caller can quote it and the log has it."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        ids = {(await within(started(core, infer_request()).answer)).metadata["x-request-id"] for _ in range(3)}
        assert len(ids) == 3

    asyncio.run(run())


def test_the_trace_context_is_passed_on() -> None:
    """A W3C traceparent goes to the worker as it came."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        started(core, infer_request(), (("traceparent", trace),))
        await worker.job()
        (inference,) = worker.replica.in_flight.values()
        assert inference.traceparent == trace

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "error", "field"),
    [
        (b"\xff\xff", InvalidRequest, "request"),
        (b"", InvalidRequest, "model_name"),
        (infer_request("none"), ModelNotFound, "model_name"),
        (infer_request("echo", version="9"), ModelNotFound, "model_version"),
    ],
)
def test_refusals_carry_field_and_request_id(
    message: bytes, error: type[InvalidRequest | ModelNotFound], field: str
) -> None:
    """What is wrong is named, and the id is echoed on errors too."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        outcome = await within(started(core, message, (("x-request-id", "abc"),)).answer)
        assert isinstance(outcome.error, error)
        assert outcome.error.field == field
        assert outcome.metadata == {"x-request-id": "abc"}

    asyncio.run(run())


def test_the_models_own_failure_is_the_answer() -> None:
    """INTERNAL with the worker's message."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call = started(core, infer_request())
        (await worker.job()).fail(Status.INTERNAL, "division by zero")
        outcome = await within(call.answer)
        assert outcome.error is not None
        assert outcome.error.status is ModelFailed.status
        assert str(outcome.error) == "division by zero"

    asyncio.run(run())


def test_a_full_router_sheds() -> None:
    """RESOURCE_EXHAUSTED with a delay, naming the setting; on_cancel is taken back."""

    async def run() -> None:
        core = make_core(RouterSettings(limits=Limits(max_in_flight=1)))
        worker = FakeWorker(core, automatic=False)
        first = started(core, infer_request())
        second = started(core, infer_request())
        outcome = await within(second.answer)
        assert isinstance(outcome.error, Shed)
        assert outcome.error.retry_after_s > 0
        assert second.on_cancel is None
        (await worker.job()).reply()
        assert (await within(first.answer)).error is None

    asyncio.run(run())


def test_a_cancelled_call_is_withdrawn() -> None:
    """The worker is told, nobody is answered, and the request counts no longer."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call = started(core, infer_request())
        job = await worker.job()
        assert call.on_cancel is not None
        call.on_cancel()
        assert await within(worker.cancelled.get()) == job.number
        assert core.dispatcher.in_flight == 0
        job.reply()
        assert not call.answer.done()

    asyncio.run(run())


def test_the_deadline_of_the_call_is_the_requests() -> None:
    """It passes while the worker is silent: DEADLINE_EXCEEDED."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core, automatic=False)
        call = started(core, infer_request(), deadline=core.clock() + 0.02)
        assert isinstance((await within(call.answer)).error, DeadlineExceeded)

    asyncio.run(run())


def test_binary_and_foreign_metadata_do_no_harm() -> None:
    """Only x-request-id, traceparent and the tenant are read; a value that is not text counts as absent."""
    request_id, traceparent, _ = identity((("x-request-id", b"\x00"), ("traceparent", b"\x00"), ("user-agent", "t")))
    assert request_id
    assert traceparent == ""


def test_the_tenant_comes_from_the_header_that_the_settings_name() -> None:
    """Another header of that sense counts for nothing, and neither do bytes."""
    metadata = (("x-team", "blue"), ("x-dodona-tenant", "red"))
    assert [identity(metadata, header)[2] for header in ("x-team", "x-dodona-tenant", "", "x")] == [
        "blue",
        "red",
        "",
        "",
    ]
    assert identity((("x-team", b"\x00"),), "x-team")[2] == ""


def sharing_worker(core: Core, **options: bool) -> FakeWorker:
    """Of a model whose answers may be kept."""
    kept = link_pb2.ResponseCache(enabled=True)
    return FakeWorker(core, model(response_cache=kept, collapse=True, content="c"), **options)


def test_caller_is_told_that_its_answer_was_kept() -> None:
    """The metadata `cache-status` stands beside the request id; an answer of a run of its own has none."""

    async def run() -> None:
        core = make_core()
        sharing_worker(core)
        first = await within(started(core, infer_request(number="7"), (("x-request-id", "a"),)).answer)
        second = await within(started(core, infer_request(number="8"), (("x-request-id", "b"),)).answer)
        assert first.metadata == {"x-request-id": "a"}
        assert second.metadata == {"x-request-id": "b", "cache-status": "dodona; hit"}
        assert [oip.ModelInferResponse.FromString(one.message).id for one in (first, second)] == ["7", "8"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("directives", "statuses"),
    [
        ("no-cache", ["", "dodona; hit"]),
        ("Max-Age=0, x", ["", "dodona; hit"]),
        ("no-store", ["", ""]),
        ("no-cache, no-store", ["", ""]),
        ("max-stale", ["", "dodona; hit"]),
    ],
)
def test_caller_says_with_cache_control_what_it_takes(directives: str, statuses: list[str]) -> None:
    """`no-cache` runs and leaves its answer for others, `no-store` leaves nothing, others change nothing."""

    async def run() -> None:
        core = make_core()
        sharing_worker(core)
        first = await within(started(core, infer_request(), (("cache-control", directives),)).answer)
        second = await within(started(core, infer_request()).answer)
        assert [one.metadata.get("cache-status", "") for one in (first, second)] == statuses
        third = await within(started(core, infer_request(), (("cache-control", directives),)).answer)
        assert third.metadata.get("cache-status", "") == ("dodona; hit" if directives == "max-stale" else "")

    asyncio.run(run())


def test_waiting_together_is_told_too() -> None:
    """One run, and the caller that waited for another's knows."""

    async def run() -> None:
        core = make_core()
        worker = sharing_worker(core, automatic=False)
        calls = [started(core, infer_request()) for _ in range(2)]
        (await worker.job()).reply()
        answers = [await within(call.answer) for call in calls]
        assert [one.metadata.get("cache-status") for one in answers] == [None, "dodona; fwd=miss; collapsed"]

    asyncio.run(run())
