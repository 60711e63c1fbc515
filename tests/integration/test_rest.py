"""The REST listener on real sockets: odd callers, limits, TLS and the drain."""

import asyncio
import gzip
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from protos import inference_pb2
from router.core import Core
from router.edge.rest.app import rest_app
from router.front.http1 import Patience
from router.front.rest import RestFront
from router.settings import Limits, Rest, RouterSettings, Tls
from serving import loop as serving_loop
from serving.errors import ConfigurationError
from tests.router.edge.rest.rig import PATIENCE_S, Answer, FakeWorker, Job, make_core, model, tensor, within

ROWS = b'{"instances": [[1, 2]]}'
PREDICTIONS = {"predictions": [[1.0, 2.0]]}


def run(body: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    if loop == "uvloop":
        serving_loop.run(body())
    else:
        asyncio.run(body())


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stand:
    def __init__(self, core: Core, worker: FakeWorker, front: RestFront, address: str) -> None:
        self.core = core
        self.worker = worker
        self.front = front
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    @asynccontextmanager
    async def wire(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Wire"]:
        reader, writer = await asyncio.open_connection(
            self.host, self.port, ssl=tls, server_hostname="localhost" if tls else None
        )
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()


class Wire:
    """One connection, byte by byte if the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str, body: bytes = b"") -> None:
        """Lines of a head, without the last empty one, then the body."""
        self.writer.write(text.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    def predict(self, body: bytes = ROWS, **headers: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\n".join(["POST /v1/models/m:predict HTTP/1.1", f"content-length: {len(body)}", *lines]), body)

    def get(self, path: str, *lines: str) -> None:
        self.send("\n".join([f"GET {path} HTTP/1.1", *lines]))

    async def answer(self, head_only: bool = False) -> Answer:
        head = (await within(self.reader.readuntil(b"\r\n\r\n"))).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        size = 0 if head_only else int(headers.get("content-length", 0))
        return Answer(int(head[0].split(" ")[1]), headers, await within(self.reader.readexactly(size)))

    async def closed(self) -> bool:
        """Waits for the end; whether nothing came before it."""
        try:
            return await within(self.reader.read(1)) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def standing(
    limits: Limits | None = None,
    *,
    on_job: Callable[[Job], None] | None = Job.echo,
    tls: Tls | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Stand]:
    """A listener before a model m with one FP32 [2] input and output."""
    core = make_core(RouterSettings(limits=limits or Limits()))
    worker = FakeWorker(core, model("m", [tensor("x", "FP32", 2)]), on_job=on_job)
    front = RestFront(rest_app(core), "127.0.0.1", 0, core.settings.limits, tls or Tls(), patience=patience)
    stand = Stand(core, worker, front, await front.start())
    try:
        yield stand
    finally:
        await within(front.drain(0.1))


def test_the_patience_of_the_listener_is_a_setting() -> None:
    """Every key of router.rest arrives, and the defaults are those of the listener itself."""
    assert Patience.of(Rest()) == Patience()
    rest = Rest(keep_alive_s=1, head_timeout_s=2, write_stall_s=3, handshake_timeout_s=4)
    assert Patience.of(rest) == Patience(keep_alive_s=1, head_s=2, stall_s=3, handshake_s=4)


def test_requests_follow_each_other_on_a_connection(loop: str) -> None:
    """Answers carry the date and the request id, and the connection is kept."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            for number in range(3):
                wire.predict(x_request_id=f"r-{number}")
                answer = await wire.answer()
                assert (answer.status, answer.json) == (200, PREDICTIONS)
                assert answer.headers["x-request-id"] == f"r-{number}"
                assert answer.headers["date"].endswith("GMT")

    run(body, loop)


def test_errors_do_not_spoil_the_connection(loop: str) -> None:
    """After every refusal the next request on the same connection is answered."""
    limits = Limits(max_message_bytes=100_000)

    async def body() -> None:
        async with standing(limits) as stand, stand.wire() as wire:
            bomb = gzip.compress(bytes(10_000_000))
            for refused, status in [
                (lambda: wire.predict(b"{"), 400),
                (lambda: wire.predict(b"["), 400),
                (lambda: wire.predict(bytes(100_001)), 413),
                (lambda: wire.predict(bytes(2_000_000)), 413),
                (lambda: wire.predict(bomb, content_encoding="gzip"), 413),
                (lambda: wire.predict(b"{}", content_encoding="br"), 415),
                (lambda: wire.predict(b"<a/>", content_type="text/xml"), 415),
                (lambda: wire.get("/nowhere"), 404),
                (lambda: wire.get("/v1/models/m:predict"), 405),
                (lambda: wire.get("/v2/models/%zz"), 400),
                (lambda: wire.get("/v2/logging"), 501),
            ]:
                refused()
                answer = await wire.answer()
                assert (answer.status, bool(answer.error)) == (status, True)
                wire.predict()
                assert (await wire.answer()).json == PREDICTIONS

    run(body, loop)


def test_body_in_chunks_is_limited_while_it_comes(loop: str) -> None:
    """An endless body without a length is refused when the limit is passed, not at its end."""

    async def body() -> None:
        async with standing(Limits(max_message_bytes=100_000)) as stand, stand.wire() as wire:
            wire.send("POST /v1/models/m:predict HTTP/1.1\ntransfer-encoding: chunked")
            for _ in range(13):
                wire.writer.write(b"2000\r\n" + bytes(0x2000) + b"\r\n")
            answer = await wire.answer()
            assert (answer.status, "router.limits.max_message_bytes" in answer.error) == (413, True)
            wire.writer.write(b"0\r\n\r\n")
            wire.predict()
            assert (await wire.answer()).status == 200

    run(body, loop)


def test_large_body_is_read_whole() -> None:
    """Beyond the water mark of the transport and in many pieces."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            rows = b"[1, 2], " * 100_000
            wire.predict(b'{"instances": [' + rows + b"[1, 2]]}")
            assert len((await wire.answer()).json["predictions"]) == 100_001

    run(body, "uvloop")


def test_odd_but_legal_callers(loop: str) -> None:
    """One byte at a time, chunks, Expect, an upgrade that is not taken, pipelining, HEAD, absolute form, a query."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            for byte in b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(ROWS) + ROWS:
                wire.writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            assert (await wire.answer()).json == PREDICTIONS
            wire.send("POST /v1/models/m:predict HTTP/1.1\ntransfer-encoding: chunked")
            wire.writer.write(b"5\r\n" + ROWS[:5] + b"\r\n%x\r\n" % len(ROWS[5:]) + ROWS[5:] + b"\r\n0\r\n\r\n")
            assert (await wire.answer()).json == PREDICTIONS
            wire.send(f"POST /v1/models/m:predict HTTP/1.1\nexpect: 100-continue\ncontent-length: {len(ROWS)}")
            assert (await wire.answer()).status == 100
            wire.writer.write(ROWS)
            assert (await wire.answer()).json == PREDICTIONS
            wire.predict(connection="Upgrade, HTTP2-Settings", upgrade="h2c", http2_settings="AAMAAABkAAQAAP__")
            assert (await wire.answer()).json == PREDICTIONS
            for _ in range(3):
                wire.predict()
            wire.get("/v2/health/live")
            assert [(await wire.answer()).status for _ in range(4)] == [200] * 4
            wire.send("HEAD /v2 HTTP/1.1")
            answer = await wire.answer(head_only=True)
            assert (answer.status, int(answer.headers["content-length"]) > 0) == (200, True)
            wire.get("http://example.com/v2?x=1")
            assert (await wire.answer()).json["name"] == "dodona"

    run(body, loop)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("HELLO", 400),
        ("CONNECT example.com:80 HTTP/1.1", 400),
        ("GET /v2 HTTP/1.1\nbad header", 400),
        ("GET /v2 HTTP/1.1\nx: a\x00b", 400),
        ("POST /v2 HTTP/1.1\ncontent-length: 1\ntransfer-encoding: chunked", 400),
        ("POST /v2 HTTP/1.1\ncontent-length: 1\ncontent-length: 2", 400),
        ("POST /v2 HTTP/1.1\ncontent-length: -1", 400),
        ("GET /v2 HTTP/1.1\nx: " + "y" * 20_000, 431),
        ("GET /" + "y" * 20_000 + " HTTP/1.1", 431),
        ("GET /v2 HTTP/1.1\n" + "\n".join(f"x{n}: y" for n in range(3000)), 431),
        ("GET /v2 HTTP/1.1\nx: " + "y" * 2_000_000, 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_requests_end_the_connection(head: str, status: int, loop: str) -> None:
    """With an answer in JSON; nobody can tell where the next request would begin."""

    async def body() -> None:
        async with standing() as stand, stand.wire() as wire:
            wire.send(head)
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert status != 431 or "router.limits.max_header_bytes" in answer.error
            assert await wire.closed()
            async with stand.wire() as other:
                other.predict()
                assert (await other.answer()).status == 200

    run(body, loop)


def test_connections_are_limited() -> None:
    """One too many is told so and closed; the others go on, and a place that comes free is used."""

    async def body() -> None:
        async with standing(Limits(max_connections=2)) as stand, stand.wire() as first:
            async with stand.wire() as second:
                for wire in (first, second):
                    wire.get("/v2/health/live")
                    assert (await wire.answer()).status == 200
                async with stand.wire() as third:
                    answer = await third.answer()
                    assert (answer.status, "router.limits.max_connections" in answer.error) == (503, True)
                    assert await third.closed()
                second.writer.close()
                await second.writer.wait_closed()
            first.get("/v2/health/live")
            assert (await first.answer()).status == 200
            async with stand.wire() as fourth:
                fourth.get("/v2/health/live")
                assert (await fourth.answer()).status == 200

    run(body, "asyncio")


def test_head_that_does_not_end_is_given_up(loop: str) -> None:
    """A caller that drips its head keeps a connection for a bounded time only."""

    async def body() -> None:
        async with standing(patience=Patience(head_s=0.05)) as stand, stand.wire() as wire:
            wire.writer.write(b"GET /v2 HTTP/1.1\r\nx: ")
            assert (await wire.answer()).status == 408
            assert await wire.closed()

    run(body, loop)


def test_idle_connections_are_closed(loop: str) -> None:
    """Before their first request, and between two."""

    async def body() -> None:
        async with standing(patience=Patience(keep_alive_s=0)) as stand, stand.wire() as silent:
            assert await silent.closed()
        async with standing(patience=Patience(keep_alive_s=1)) as stand, stand.wire() as wire:
            wire.get("/v2/health/live")
            assert (await wire.answer()).status == 200
            assert await wire.closed()

    run(body, loop)


def test_caller_that_does_not_read_is_cut(loop: str) -> None:
    """A reply that nobody takes does not stay in memory for ever."""
    elements = 4_000_000

    def on_job(job: Job) -> None:
        response = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
        response.outputs.add(name="y", datatype="UINT8", shape=[elements])
        response.raw_output_contents.append(bytes(elements))
        job.reply_raw(response)

    async def body() -> None:
        async with standing(on_job=on_job, patience=Patience(stall_s=0.05)) as stand:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            running = asyncio.get_running_loop()
            await running.sock_connect(sock, (stand.host, stand.port))
            head = b"POST /v1/models/m:predict HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(ROWS)
            await running.sock_sendall(sock, head + ROWS)
            while not stand.front.connections:
                await asyncio.sleep(0.001)
            async with asyncio.timeout(PATIENCE_S):
                while stand.front.connections:
                    await asyncio.sleep(0.01)
            sock.close()

    run(body, loop)


def test_caller_that_leaves_cancels_its_inference(loop: str) -> None:
    """The worker is told, and nothing is left of the request."""

    async def body() -> None:
        async with standing(on_job=None) as stand:
            async with stand.wire() as wire:
                wire.predict()
                job = await stand.worker.job()
            assert await within(stand.worker.cancelled.get()) == job.number
            assert stand.core.dispatcher.in_flight == 0

    run(body, loop)


def test_drain_answers_what_was_accepted(loop: str) -> None:
    """The reply comes and says that the connection ends; idle ones are closed; new ones find nobody."""

    async def body() -> None:
        async with standing(on_job=None) as stand, stand.wire() as busy, stand.wire() as idle:
            idle.get("/v2/health/live")
            assert (await idle.answer()).status == 200
            busy.predict()
            job = await stand.worker.job()
            drained = asyncio.create_task(stand.front.drain(PATIENCE_S))
            assert await idle.closed()
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection(stand.host, stand.port)
            assert not drained.done()
            job.echo()
            answer = await busy.answer()
            assert (answer.json, answer.headers["connection"]) == (PREDICTIONS, "close")
            assert await busy.closed()
            await within(drained)
            await within(stand.front.drain(1))

    run(body, loop)


def test_drain_cuts_what_takes_too_long(loop: str) -> None:
    """After the grace the connection ends and the inference is withdrawn."""

    async def body() -> None:
        async with standing(on_job=None) as stand, stand.wire() as wire:
            wire.predict()
            await stand.worker.job()
            await within(stand.front.drain(0.05))
            assert await wire.closed()
            assert stand.core.dispatcher.in_flight == 0
            assert len(asyncio.all_tasks()) == 1

    run(body, loop)


def test_port_that_is_taken_is_an_error(loop: str) -> None:
    """The process is not ended behind the caller's back; draining what never listened does nothing."""

    async def body() -> None:
        async with standing() as stand:
            other = RestFront(rest_app(stand.core), stand.host, stand.port, Limits(), Tls())
            with pytest.raises(OSError, match="in use"):
                await other.start()
            await other.drain(1)

    run(body, loop)


def certificate(folder: Path) -> Tls:
    """A key pair for localhost, made for this test run."""
    paths = Tls(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", paths.key, "-out", paths.certificate], check=True, capture_output=True)
    return paths


def test_tls(tmp_path: Path, loop: str) -> None:
    """With a certificate the port speaks TLS and offers HTTP/1.1."""
    tls = certificate(tmp_path)

    async def body() -> None:
        context = ssl.create_default_context(cafile=tls.certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with standing(tls=tls) as stand:
            async with stand.wire(context) as wire:
                wire.predict()
                assert (await wire.answer()).json == PREDICTIONS
                assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            async with stand.wire() as plain:
                plain.predict()
                assert await plain.closed()

    run(body, loop)


def test_tls_files_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    """The setting and the file, at start."""
    missing = Tls(certificate=str(tmp_path / "none.pem"))

    async def body() -> None:
        with pytest.raises(ConfigurationError, match=r"router\.tls\.certificate: .*none.pem cannot be used"):
            async with standing(tls=missing):
                raise AssertionError("it must not start")

    asyncio.run(body())


def test_every_caller_gets_its_own_answer(loop: str) -> None:
    """Many connections at once, answered in another order than they asked."""

    async def body() -> None:
        async with standing(on_job=None) as stand:

            async def ask(number: int) -> None:
                async with stand.wire() as wire:
                    wire.predict(b'{"instances": [[%d, 0]]}' % number)
                    assert (await wire.answer()).json == {"predictions": [[float(number), 0.0]]}

            callers: list[Awaitable[None]] = [asyncio.create_task(ask(number)) for number in range(50)]
            jobs = [await stand.worker.job() for _ in callers]
            for job in reversed(jobs):
                job.echo()
            await within(asyncio.gather(*callers))

    run(body, loop)


def test_link_frames_are_what_workers_expect() -> None:
    """A REST request reaches the worker as the same message that gRPC would have sent."""

    async def body() -> None:
        async with standing(on_job=None) as stand, stand.wire() as wire:
            wire.predict()
            job = await stand.worker.job()
            expected = inference_pb2.ModelInferRequest(model_name="m")
            expected.inputs.add(name="x", datatype="FP32", shape=[1, 2])
            expected.raw_input_contents.append(job.array().tobytes())
            assert job.request == expected
            assert job.message == expected.SerializeToString()
            job.echo()
            assert (await wire.answer()).json == PREDICTIONS

    run(body, "asyncio")
