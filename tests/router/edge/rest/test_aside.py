import asyncio
import io
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import pytest

from router.edge.rest import beside
from router.edge.rest.aside import FRAME, LARGE, Aside
from router.edge.rest.decode import message_of
from router.edge.rest.exchange import Response
from serving.errors import DodonaError, InvalidRequest, Shed, Unavailable
from tests.router.edge.rest.rig import PATIENCE_S, Caller, FakeWorker, Job, make_core, model, tensor, within

LIMITS = {"max_depth": 8, "max_bytes": 100_000_000}


def document(count: int, **others: Any) -> bytes:
    values = np.arange(count, dtype=np.float32).tolist()
    entry = {"name": "x", "datatype": "FP32", "shape": [count, 1], "data": values}
    return orjson.dumps({"inputs": [entry]} | others)


def run(body: Callable[[Aside], Awaitable[None]]) -> None:
    async def bounded() -> None:
        aside = Aside()
        try:
            await asyncio.wait_for(body(aside), 6 * PATIENCE_S)  # processes start slowly on a busy machine
        finally:
            await within(aside.close())

    asyncio.run(bounded())


def test_work_aside_gives_what_it_gives_here() -> None:
    """Results and refusals, one after the other, through one process."""

    async def body(aside: Aside) -> None:
        text = document(1000)
        assert await aside.call("message_of", text, None, "m", "", **LIMITS) == message_of(
            text, None, "m", "", **LIMITS
        )
        process = aside._process
        with pytest.raises(InvalidRequest, match=r"inputs: is missing; send") as failure:
            await aside.call("message_of", b"{}", None, "m", "", **LIMITS)
        assert (failure.value.field, failure.value.http_status) == ("inputs", 400)
        replies = [aside.call("message_of", document(n), None, "m", str(n), **LIMITS) for n in range(1, 6)]
        for number, (message, _) in enumerate(await asyncio.gather(*replies), 1):
            assert message == message_of(document(number), None, "m", str(number), **LIMITS)[0]
        assert aside._process is process

    run(body)


def test_the_event_loop_goes_on_meanwhile() -> None:
    """A long piece of work leaves many turns of the loop to others."""

    async def body(aside: Aside) -> None:
        text = document(400_000)
        await aside.call("message_of", document(1), None, "m", "", **LIMITS)
        work = asyncio.ensure_future(aside.call("message_of", text, None, "m", "", **LIMITS))
        turns = 0
        while not work.done():
            turns += 1
            await asyncio.sleep(0.001)
        assert turns > 10

    run(body)


def test_a_caller_that_leaves_disturbs_no_other() -> None:
    """Withdrawn before or while its work is done: the next result is the next caller's."""

    async def body(aside: Aside) -> None:
        for first_waits in (False, True):
            blocker = asyncio.ensure_future(aside.call("message_of", document(20_000), None, "m", "", **LIMITS))
            leaver = asyncio.ensure_future(aside.call("message_of", document(2), None, "m", "", **LIMITS))
            last = asyncio.ensure_future(aside.call("message_of", document(3), None, "m", "", **LIMITS))
            await asyncio.sleep(0.01 if first_waits else 0)
            leaver.cancel()
            blocker.cancel()
            assert await last == message_of(document(3), None, "m", "", **LIMITS)
            assert not aside._waiting

    run(body)


def test_a_process_that_dies_is_replaced() -> None:
    """Its work is refused with the remedy, the next is done."""

    async def body(aside: Aside) -> None:
        await aside.call("message_of", document(1), None, "m", "", **LIMITS)
        assert aside._process is not None
        work = asyncio.ensure_future(aside.call("message_of", document(400_000), None, "m", "", **LIMITS))
        await asyncio.sleep(0)  # the work is on its way
        aside._process.kill()
        with pytest.raises(Unavailable, match="try again"):
            await work
        assert (await aside.call("message_of", document(1), None, "m", "", **LIMITS))[0]

    run(body)


def test_what_waits_is_bounded() -> None:
    """One too many is told to come again; closing refuses what is left."""

    async def body(aside: Aside) -> None:
        work = [
            asyncio.ensure_future(aside.call("message_of", document(2), None, "m", "", **LIMITS)) for _ in range(64)
        ]
        await asyncio.sleep(0)
        while len(aside._waiting) < 64:
            work.append(asyncio.ensure_future(aside.call("message_of", document(2), None, "m", "", **LIMITS)))
            await asyncio.sleep(0)
        with pytest.raises(Shed):
            await aside.call("message_of", document(2), None, "m", "", **LIMITS)
        await aside.close()
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable | tuple) for outcome in outcomes)

    run(body)


def test_the_other_side_ends_with_its_input() -> None:
    """Frame by frame until the pipe closes, in the middle of one too; a fault of ours comes back as one."""

    def frame(*call: Any, body: bytes = b"") -> bytes:
        text = pickle.dumps(call)
        return FRAME.pack(len(text), len(body)) + text + body

    asked = frame("message_of", (None, "m", ""), LIMITS, body=document(2))
    sink = io.BytesIO()
    beside.main(io.BytesIO(asked + frame("message_of", (1, 2), {}, body=b"x") + asked[:10]), sink)
    sink.seek(0)
    outcomes = []
    while start := sink.read(FRAME.size):
        outcomes.append(pickle.loads(sink.read(FRAME.unpack(start)[0])))
    assert outcomes[0][0] == message_of(document(2), None, "m", "", **LIMITS)[0]
    assert isinstance(outcomes[1], TypeError)
    assert len(outcomes) == 2


def test_errors_keep_their_words_on_the_way() -> None:
    """Field, remedy and delay are in the text that the caller gets."""
    error = pickle.loads(pickle.dumps(Shed("busy", field="f", remedy="r", retry_after_s=2.5)))
    assert (str(error), error.retry_after_s, type(error)) == ("f: busy; r", 2.5, Shed)
    assert isinstance(error, DodonaError)


def test_large_requests_and_answers_are_those_of_small_ones() -> None:
    """Through the edge: JSON above the threshold, compressed or not, wrong ones too, and JSON answers of that size."""
    count = 140_000

    def on_job(job: Job) -> None:
        assert np.array_equal(job.array().ravel(), np.arange(count))
        job.echo()

    async def check() -> None:
        core = make_core()
        FakeWorker(core, model("m", [tensor("x", "FP32", 1)]), on_job=on_job)
        caller = Caller(core)
        text = document(count)
        assert len(text) > LARGE
        try:
            await caller._front.application._aside.call("message_of", document(1), None, "m", "", **LIMITS)
            answer = await caller.post("/v2/models/m/infer", text)
            assert answer.json["outputs"][0]["data"] == [float(number) for number in range(count)]
            assert answer.headers["content-type"] == "application/json"
            answer = await caller.post("/v2/models/m/infer", text, x_request_timeout_ms="0.01")
            assert answer.status == 504
            answer = await caller.post("/v2/models/m/infer", text[:-1] + b" " * LARGE)
            assert (answer.status, "malformed JSON at line 1" in answer.error) == (400, True)
            wanted = document(count, parameters={"binary_data_output": True})
            answer = await caller.post("/v2/models/m/infer", wanted)
            assert answer.binary()[1] == np.arange(count, dtype=np.float32).tobytes()
        finally:
            await caller._front.application.close()

    asyncio.run(check())


def test_a_response_survives_the_pipe() -> None:
    """Body, status and headers."""
    response = Response(b"x", 201, [(b"a", b"b")])
    assert pickle.loads(pickle.dumps(response)) == response
