"""The REST listener on real sockets against callers that are slow, rude or old; what they may send is in
tests/router/http1."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from protos import inference_pb2
from router.front.http1 import Patience
from router.settings import Limits
from serving import loop as serving_loop
from tests.integration.test_rest import PREDICTIONS, ROWS, Stand, Wire, standing
from tests.router.edge.rest.rig import PATIENCE_S, Job, within

INFER = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'


def infer(wire: Wire, *lines: str, body: bytes = INFER) -> None:
    wire.send("\n".join(["POST /v2/models/m/infer HTTP/1.1", f"content-length: {len(body)}", *lines]), body)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body(), 3 * PATIENCE_S)

    serving_loop.run(bounded())


async def none_left(stand: Stand) -> None:
    """Every connection has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while stand.front.connections:
            await asyncio.sleep(0.005)


def test_a_caller_that_leaves_withdraws_its_inference() -> None:
    """The hot path has no task that could be cancelled: the worker is told from the connection's end."""

    async def body() -> None:
        async with standing(on_job=None) as stand:
            async with stand.wire() as wire:
                infer(wire)
                job = await stand.worker.job()
            assert await within(stand.worker.cancelled.get()) == job.number
            job.echo()
            await none_left(stand)
            assert stand.core.dispatcher.in_flight == 0

    run(body)


def test_pipelined_requests_are_answered_in_order() -> None:
    """However long the first takes: the second is begun when the first is answered."""

    async def body() -> None:
        async with standing(on_job=None) as stand, stand.wire() as wire:
            for number in range(1, 4):
                infer(wire, body=INFER.replace(b"[1, 2]}", b"[%d, 2]}" % number))
            wire.get("/v2/health/live")
            for number in range(1, 4):
                job = await stand.worker.job()
                assert stand.worker.jobs.empty()
                assert job.array().tolist() == [[number, 2]]
                job.echo()
                assert (await wire.answer()).json["outputs"][0]["data"] == [number, 2.0]
            assert (await wire.answer()).json == {"live": True}

    run(body)


def test_a_flood_of_pipelined_requests_leaves_others_their_turn() -> None:
    """Thousands in one write are answered, all, and another caller does not wait for the last of them."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as flood, stand.wire() as other:
            flood.writer.write(b"GET /v2/health/live HTTP/1.1\r\n\r\n" * 20_000)
            reading = asyncio.create_task(within(flood.reader.readexactly(1_000_000)))
            await asyncio.sleep(0.01)
            other.get("/v2/health/live")
            assert (await other.answer()).status == 200
            assert not reading.done()
            await reading

    run(body)


def test_a_caller_that_sends_ahead_and_reads_nothing_is_bounded_and_dropped() -> None:
    """Neither its requests nor its answers pile up: reading stops, and after the patience the connection ends."""

    def on_job(job: Job) -> None:
        response = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
        response.outputs.add(name="y", datatype="UINT8", shape=[100_000])
        response.raw_output_contents.append(bytes(100_000))
        job.reply_raw(response)

    async def body() -> None:
        async with standing(on_job=on_job, patience=Patience(stall_s=0.2)) as stand:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            running = asyncio.get_running_loop()
            await running.sock_connect(sock, (stand.host, stand.port))
            head = b"POST /v1/models/m:predict HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(ROWS)

            async def send_for_ever() -> None:
                while True:
                    await running.sock_sendall(sock, (head + ROWS) * 1000)

            with pytest.raises(ConnectionError):
                await within(send_for_ever())
            await none_left(stand)
            sock.close()

    run(body)


def test_a_body_that_stops_is_given_up() -> None:
    """408 in JSON with the request id; the connection ends, for the rest might still come."""

    async def body() -> None:
        async with standing(patience=Patience(pause_s=0.1)) as stand, stand.wire() as wire:
            wire.send("POST /v1/models/m:predict HTTP/1.1\nx-request-id: r-1\ncontent-length: 100", b"half")
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"], answer.headers["x-request-id"]) == (
                408,
                "close",
                "r-1",
            )
            assert "nothing came for 0.1 s" in answer.error
            assert await wire.closed()

    run(body)


@pytest.mark.parametrize("framing", ["content-length: 100000", "transfer-encoding: chunked"])
def test_a_body_in_drops_is_given_up(framing: str) -> None:
    """Never a pause, never an end: the whole upload has its time too."""

    async def body() -> None:
        async with standing(patience=Patience(pause_s=0.2, upload_s=0.4)) as stand, stand.wire() as wire:
            wire.send(f"POST /v1/models/m:predict HTTP/1.1\n{framing}")
            answering = asyncio.create_task(wire.answer())
            while not answering.done():
                wire.writer.write(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)
            answer = await answering
            assert (answer.status, "router.rest.upload_timeout_s" in answer.error) == (408, True)
            await none_left(stand)

    run(body)


def test_a_refused_body_that_never_ends_is_given_up() -> None:
    """The answer has gone out long ago; the connection is not kept for the rest of the body."""

    async def body() -> None:
        async with standing(patience=Patience(pause_s=0.1)) as stand, stand.wire() as wire:
            wire.send("POST /nowhere HTTP/1.1\ncontent-length: 1000", b"half")
            assert (await wire.answer()).status == 404
            await none_left(stand)

    run(body)


def test_a_head_in_drops_is_given_up() -> None:
    """Slow loris: a byte now and then does not extend the time of a head."""

    async def body() -> None:
        async with standing(patience=Patience(head_s=0.3)) as stand, stand.wire() as wire:
            answering = asyncio.create_task(wire.answer())
            wire.writer.write(b"GET /v2 HTTP/1.1\r\n")
            while not answering.done():
                wire.writer.write(b"x: y\r\n")
                await asyncio.sleep(0.02)
            assert (await answering).status == 408
            await none_left(stand)

    run(body)


def test_empty_lines_do_not_keep_a_connection() -> None:
    """They are let pass before a request, and are no request."""

    async def body() -> None:
        async with standing(patience=Patience(keep_alive_s=1)) as stand, stand.wire() as wire:
            started = asyncio.get_running_loop().time()
            while stand.front.connections or asyncio.get_running_loop().time() < started + 0.5:
                wire.writer.write(b"\r\n")
                await asyncio.sleep(0.05)
                assert asyncio.get_running_loop().time() < started + PATIENCE_S

    run(body)


@pytest.mark.parametrize(
    ("line", "version", "connection"),
    [
        ("x: y", "1.0", "close"),
        ("connection: keep-alive", "1.0", "keep-alive"),
        ("connection: close", "1.1", "close"),
        ("x: y", "1.1", None),
    ],
)
def test_who_wants_the_connection_closed_gets_it_closed(line: str, version: str, connection: str | None) -> None:
    """The answer says so, comes whole, and the end follows it; an old client that asks for it is kept."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            wire.send(f"GET /v2/health/live HTTP/{version}\n{line}")
            answer = await wire.answer()
            assert (answer.status, answer.headers.get("connection")) == (200, connection)
            if connection == "close":
                assert await wire.closed()
            else:
                wire.get("/v2/health/live")
                assert (await wire.answer()).status == 200

    run(body)


def test_an_expectation_of_what_is_refused_is_not_met() -> None:
    """No 100 Continue for a route that is not there or a body that is too large: the final answer, and the end."""

    async def body() -> None:
        async with standing(Limits(max_message_bytes=1000)) as stand:
            for path, size, status in (("/nowhere", 10, 404), ("/v1/models/m:predict", 1001, 413)):
                async with stand.wire() as wire:
                    wire.send(f"POST {path} HTTP/1.1\nexpect: 100-continue\ncontent-length: {size}")
                    answer = await wire.answer()
                    assert (answer.status, answer.headers["connection"]) == (status, "close")
                    assert await wire.closed()

    run(body)


def test_head_has_no_body() -> None:
    """Of any answer, errors too; the next answer on the connection begins where it should."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            for path, status in (("/v2/health/live", 200), ("/nowhere", 404), ("/v1/models/m:predict", 405)):
                wire.send(f"HEAD {path} HTTP/1.1")
                answer = await wire.answer(head_only=True)
                assert (answer.status, int(answer.headers["content-length"]) > 0) == (status, True)
            wire.get("/v2/health/live")
            assert (await wire.answer()).json == {"live": True}

    run(body)


def test_large_bodies_both_ways() -> None:
    """Far more than a read or a write takes at once, declared or in chunks, over one connection."""
    values = b", ".join([b"1"] * 150_000)
    large = INFER.replace(b"[1, 2]}", b"[%b]}" % values).replace(b"[1, 2]", b"[75000, 2]")

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            infer(wire, body=large)
            assert len((await wire.answer()).json["outputs"][0]["data"]) == 150_000
            wire.send("POST /v2/models/m/infer HTTP/1.1\ntransfer-encoding: chunked")
            for at in range(0, len(large), 100_000):
                piece = large[at : at + 100_000]
                wire.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            wire.writer.write(b"0\r\n\r\n")
            assert len((await wire.answer()).json["outputs"][0]["data"]) == 150_000

    run(body)


def test_old_connections_are_asked_to_go() -> None:
    """The next answer says so and the client connects anew; none is lost. An idle one ends a while later."""
    limits = Limits(max_connection_age_s=0.2, max_connection_age_grace_s=1)

    async def body() -> None:
        patience = Patience(ending_s=0.02)
        async with standing(limits, patience=patience) as stand, stand.wire() as busy, stand.wire() as idle:
            answer = None
            while answer is None or "connection" not in answer.headers:
                await asyncio.sleep(0.01)
                busy.predict()
                answer = await busy.answer()
                assert answer.json == PREDICTIONS
            assert answer.headers["connection"] == "close"
            assert await busy.closed()
            assert await idle.closed()

    run(body)


def test_an_old_connection_with_work_that_does_not_end_is_cut() -> None:
    """After the grace the work is withdrawn, and the caller told."""
    limits = Limits(max_connection_age_s=0.05, max_connection_age_grace_s=0.1)

    async def body() -> None:
        async with standing(limits, on_job=None, patience=Patience(ending_s=0.02)) as stand, stand.wire() as wire:
            infer(wire)
            job = await stand.worker.job()
            answer = await wire.answer()
            assert (answer.status, "router.limits.max_connection_age_s" in answer.error) == (503, True)
            assert await within(stand.worker.cancelled.get()) == job.number
            assert await wire.closed()

    run(body)


def test_a_drain_lets_a_request_arrive_and_be_answered() -> None:
    """What has begun to come when the drain begins is read to its end and answered; then the connection ends."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as in_body, stand.wire() as in_head:
            in_body.send(f"POST /v1/models/m:predict HTTP/1.1\ncontent-length: {len(ROWS)}", ROWS[:5])
            in_head.writer.write(b"GET /v2/health/live HT")
            while stand.front.connections < 2 or any(one._http.idle for one in stand.front._connections):
                await asyncio.sleep(0.001)
            drained = asyncio.create_task(stand.front.drain(PATIENCE_S))
            await asyncio.sleep(0.02)
            in_body.writer.write(ROWS[5:])
            in_head.writer.write(b"TP/1.1\r\n\r\n")
            for wire in (in_body, in_head):
                answer = await wire.answer()
                assert (answer.status, answer.headers["connection"]) == (200, "close")
                assert await wire.closed()
                wire.writer.close()
            await within(drained)

    run(body)


@asynccontextmanager
async def many(stand: Stand, count: int) -> AsyncIterator[list[Wire]]:
    wires = [Wire(*await asyncio.open_connection(stand.host, stand.port)) for _ in range(count)]
    try:
        yield wires
    finally:
        for wire in wires:
            wire.writer.close()


def test_callers_that_vanish_leave_nothing() -> None:
    """In the head, in the body, while waiting, while reading: no connection, task or inference stays."""

    async def body() -> None:
        async with standing(on_job=None) as stand:
            before = len(asyncio.all_tasks())
            async with many(stand, 40) as wires:
                for number, wire in enumerate(wires):
                    if number % 4 == 0:
                        wire.writer.write(b"GET /v2 HT")
                    elif number % 4 == 1:
                        wire.send("POST /v2/models/m/infer HTTP/1.1\ncontent-length: 1000", b"x")
                    elif number % 4 == 2:
                        infer(wire)
                    else:
                        wire.predict()
                for _ in range(20):
                    await stand.worker.job()
                for wire in wires:
                    wire.writer.transport.abort()
            await none_left(stand)
            for _ in range(20):
                await within(stand.worker.cancelled.get())
            assert stand.core.dispatcher.in_flight == 0
            assert len(asyncio.all_tasks()) == before

    run(body)
