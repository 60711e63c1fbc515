"""ModelStreamInfer: order, errors, limits, cancellation, drain."""

import asyncio

import pytest

from protos import inference_pb2 as oip
from protos import link_pb2
from router.core import Core
from router.edge.grpc.stream import MAX_IN_FLIGHT, _wrapped, model_stream_infer
from router.front.calls import Metadata
from serving.errors import InvalidRequest, ModelNotFound, TooLarge, Unavailable
from serving.status import Status
from tests.router.edge.grpc.rig import FakeStreamCall, FakeWorker, infer_request, make_core, model, within

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


def started(core: Core, metadata: Metadata = ()) -> tuple[FakeStreamCall, asyncio.Task[None]]:
    call = FakeStreamCall(PATH, metadata)
    return call, asyncio.ensure_future(model_stream_infer(core).run(call))


async def answers(call: FakeStreamCall, count: int) -> list[oip.ModelStreamInferResponse]:
    return [oip.ModelStreamInferResponse.FromString(await call.next()) for _ in range(count)]


def test_answers_come_in_the_order_of_requests() -> None:
    """Several are at work at once; a later one that is done first waits for its turn."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(infer_request(number="a"), infer_request(number="b"), infer_request(number="c"))
        jobs = [await worker.job() for _ in range(3)]
        for job in reversed(jobs):
            assert call.sent.empty()
            job.reply()
        responses = await answers(call, 3)
        assert [response.infer_response.id for response in responses] == ["a", "b", "c"]
        assert all(response.error_message == "" for response in responses)
        assert all(response.infer_response.parameters["triton_final_response"].bool_param for response in responses)
        call.half_close()
        await within(task)

    asyncio.run(run())


def test_answers_that_were_shared_say_so() -> None:
    """A stream has no metadata for each answer: the parameter `cache_status` tells, and each id is its request's."""

    async def run() -> None:
        core = make_core()
        kept = link_pb2.ResponseCache(enabled=True)
        worker = FakeWorker(core, model(response_cache=kept, collapse=True, content="c"), automatic=False)
        call, task = started(core)
        call.push(infer_request(number="a"), infer_request(number="b"))
        (await worker.job()).reply()
        first = await answers(call, 2)
        call.push(infer_request(number="c"))
        responses = [response.infer_response for response in (*first, *await answers(call, 1))]
        assert [(response.id, response.parameters["cache_status"].string_param) for response in responses] == [
            ("a", ""),
            ("b", "dodona; fwd=miss; collapsed"),
            ("c", "dodona; hit"),
        ]
        assert all(response.parameters["triton_final_response"].bool_param for response in responses)
        call.half_close()
        await within(task)

    asyncio.run(run())


def test_an_error_answers_one_request_and_the_stream_lives() -> None:
    """error_message holds the text, infer_response the id and the model; the next request works."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(infer_request(number="a"), infer_request("none", number="b"), b"\xff\xff", infer_request(number="d"))
        call.half_close()
        (await worker.job()).fail(Status.INVALID_ARGUMENT, "x: wrong shape")
        (await worker.job()).reply()
        refused, unknown, malformed, good = await answers(call, 4)
        assert (refused.error_message, refused.infer_response.id) == ("x: wrong shape", "a")
        assert "unknown model 'none'" in unknown.error_message
        assert (unknown.infer_response.id, unknown.infer_response.model_name) == ("b", "none")
        assert "inference.ModelInferRequest" in malformed.error_message
        assert (good.error_message, good.infer_response.id) == ("", "d")
        await within(task)

    asyncio.run(run())


def test_a_caller_may_ask_for_a_status_instead() -> None:
    """With `triton_grpc_error: true` the first error ends the stream, and what is still at work is cancelled."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core, (("triton_grpc_error", "true"),))
        call.push(infer_request("none"), infer_request())
        with pytest.raises(ModelNotFound):
            await within(task)
        job = await worker.job()
        assert await within(worker.cancelled.get()) == job.number
        assert core.dispatcher.in_flight == 0

    asyncio.run(run())


def test_a_stream_is_not_read_beyond_its_limit() -> None:
    """MAX_IN_FLIGHT requests wait; the next is taken on once an answer has been written."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(*[infer_request(number=str(number)) for number in range(MAX_IN_FLIGHT + 2)])
        call.half_close()
        jobs = [await worker.job() for _ in range(MAX_IN_FLIGHT)]
        assert core.dispatcher.in_flight == MAX_IN_FLIGHT
        assert call.taken == MAX_IN_FLIGHT + 1  # one in hand, not yet begun
        jobs[0].reply()
        jobs.append(await worker.job())
        assert core.dispatcher.in_flight == MAX_IN_FLIGHT
        for job in jobs[1:]:
            job.reply()
        (await worker.job()).reply()
        ids = [response.infer_response.id for response in await answers(call, MAX_IN_FLIGHT + 2)]
        assert ids == [str(number) for number in range(MAX_IN_FLIGHT + 2)]
        await within(task)

    asyncio.run(run())


def test_a_caller_that_goes_cancels_all_its_requests() -> None:
    """The front cancels the coroutine; the worker is told of every request of the stream, and of no other."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        other, other_task = started(core)
        call.push(infer_request(), infer_request())
        mine = {(await worker.job()).number for _ in range(2)}
        other.push(infer_request(number="other"))
        job = await worker.job()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(task)
        assert {await within(worker.cancelled.get()) for _ in range(2)} == mine
        assert core.dispatcher.in_flight == 1
        job.reply()
        assert (await answers(other, 1))[0].infer_response.id == "other"
        other.half_close()
        await within(other_task)

    asyncio.run(run())


@pytest.mark.parametrize("answered_first", [True, False])
def test_an_answer_in_the_turn_of_the_cancellation_is_ignored(answered_first: bool) -> None:
    """Cancellation and answer may meet in one turn of the loop, in either order."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(infer_request())
        job = await worker.job()
        if answered_first:
            job.reply()
        task.cancel()
        if not answered_first:
            job.reply()
        with pytest.raises(asyncio.CancelledError):
            await within(task)
        assert core.dispatcher.in_flight == 0

    asyncio.run(run())


def test_a_front_that_refuses_a_message_ends_the_stream() -> None:
    """Its error is the status of the call, not a group of errors."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(infer_request())
        await worker.job()
        call.break_off(TooLarge("message is above router.limits.max_message_bytes"))
        with pytest.raises(TooLarge):
            await within(task)
        assert core.dispatcher.in_flight == 0

    asyncio.run(run())


def test_a_drain_answers_what_was_read_and_ends_the_stream() -> None:
    """An idle stream does not hold up the drain; the caller learns that it may open another elsewhere."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core)
        call.push(infer_request(number="a"))
        job = await worker.job()
        core.dispatcher.drain(lambda: None)
        job.reply()
        assert (await answers(call, 1))[0].infer_response.id == "a"
        with pytest.raises(Unavailable, match="draining"):
            await within(task)

    asyncio.run(run())


def test_requests_of_a_stream_are_numbered_in_logs() -> None:
    """The stream's request id and a count, so that each inference can be found."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, automatic=False)
        call, task = started(core, (("x-request-id", "abc"),))
        call.push(infer_request(), infer_request())
        jobs = [await worker.job(), await worker.job()]
        assert [one.request_id for one in worker.replica.in_flight.values()] == ["abc.1", "abc.2"]
        for job in jobs:
            job.reply()
        call.half_close()
        await within(task)

    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, 80, 81, 127, 128, 16_383, 16_384, 3_000_000])
def test_wrapping_is_what_protobuf_would_write(size: int) -> None:
    """The answer is wrapped without being decoded, at every length of the length."""
    response = oip.ModelInferResponse(id="i", raw_output_contents=[b"x" * size])
    wrapped = oip.ModelStreamInferResponse.FromString(_wrapped(response.SerializeToString()))
    assert wrapped.infer_response.parameters.pop("triton_final_response").bool_param
    assert wrapped.infer_response == response


def test_a_stream_without_requests_ends_well() -> None:
    """Half-closing at once is no error."""

    async def run() -> None:
        call, task = started(make_core())
        call.half_close()
        await within(task)
        assert call.sent.empty()

    asyncio.run(run())


def test_a_bad_parameter_is_refused_by_name() -> None:
    """The refusal of one request of a stream is the same text as on a unary call."""

    async def run() -> None:
        core = make_core()
        FakeWorker(core)
        request = oip.ModelInferRequest.FromString(infer_request(number="p"))
        request.parameters["timeout"].string_param = "soon"
        call, task = started(core)
        call.push(request.SerializeToString())
        call.half_close()
        (answer,) = await answers(call, 1)
        assert answer.error_message.startswith("parameters.timeout: ")
        assert InvalidRequest.status is Status.INVALID_ARGUMENT
        await within(task)

    asyncio.run(run())
