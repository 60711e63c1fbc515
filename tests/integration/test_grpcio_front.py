"""The grpcio front over real sockets, with the reference client."""

import asyncio
import logging
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from router.front.calls import Methods, Stream, StreamCall, Unary, UnaryCall
from router.front.grpcio import GrpcioFront
from router.settings import Limits, Tls
from serving.errors import InvalidRequest, Shed

PATIENCE_S = 10.0


@asynccontextmanager
async def served(methods: Methods, limits: Limits | None = None, tls: Tls | None = None) -> AsyncIterator[str]:
    front = GrpcioFront(methods, "127.0.0.1", 0, limits or Limits(), tls or Tls())
    address = await front.start()
    try:
        yield address
    finally:
        await front.drain(0)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), PATIENCE_S)

    asyncio.run(bounded())


def echo(call: UnaryCall) -> None:
    call.reply(call.message)


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def test_a_reply_with_metadata() -> None:
    """Message bytes pass unchanged; text and binary metadata travel both ways; the edge sees path and peer."""
    seen: list[UnaryCall] = []

    def start(call: UnaryCall) -> None:
        seen.append(call)
        call.reply(call.message[::-1], (("x-request-id", "abc"), ("trace-bin", b"\x00\xff")))

    async def main() -> None:
        async with served({"/a/B": Unary(start)}) as address, grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary("/a/B")(b"\x00\x01", metadata=(("x-a", "1"), ("k-bin", b"\xfe")))
            assert await call == b"\x01\x00"
            initial = dict(await call.initial_metadata())
            assert initial["x-request-id"] == "abc"
            assert initial["trace-bin"] == b"\x00\xff"
        assert seen[0].path == "/a/B"
        assert seen[0].peer.startswith("127.0.0.1:")
        assert seen[0].deadline is None
        got = dict(seen[0].metadata)
        assert (got["x-a"], got["k-bin"]) == ("1", b"\xfe")
        assert not [name for name in got if name.startswith((":", "grpc-")) or name in ("te", "content-type")]

    run(main)


def test_failures_reach_the_caller() -> None:
    """Status, text and retry delay; an exception of any other kind becomes INTERNAL without its text."""

    def refuse(call: UnaryCall) -> None:
        raise InvalidRequest("wrong ü", field="inputs[0]", remedy="send another")

    def shed(call: UnaryCall) -> None:
        call.fail(Shed("too many", retry_after_s=0.25), (("x-request-id", "abc"),))
        call.reply(b"ignored")

    def crash(call: UnaryCall) -> None:
        raise ZeroDivisionError("secret")

    async def main() -> None:
        methods = {"/a/Refuse": Unary(refuse), "/a/Shed": Unary(shed), "/a/Crash": Unary(crash), "/a/Echo": Unary(echo)}
        async with served(methods) as address, grpc.aio.insecure_channel(address) as channel:
            error = await failure(channel.unary_unary("/a/Refuse")(b""))
            assert (error.code().name, error.details()) == ("INVALID_ARGUMENT", "inputs[0]: wrong ü; send another")
            error = await failure(channel.unary_unary("/a/Shed")(b""))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert dict(error.trailing_metadata())["retry-after-ms"] == "250"
            assert dict(error.trailing_metadata())["x-request-id"] == "abc"
            error = await failure(channel.unary_unary("/a/Crash")(b""))
            assert error.code() is grpc.StatusCode.INTERNAL
            assert "secret" not in str(error.details())
            error = await failure(channel.unary_unary("/a/Nothing")(b""))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "/a/Nothing" in str(error.details())
            assert await channel.unary_unary("/a/Echo")(b"still works") == b"still works"

    logging.disable(logging.CRITICAL)
    try:
        run(main)
    finally:
        logging.disable(logging.NOTSET)


def test_cancellation_and_deadline_reach_the_edge() -> None:
    """on_cancel is called once, for a caller that goes as for a deadline that passes; not after an answer."""

    async def main() -> None:
        calls: asyncio.Queue[UnaryCall] = asyncio.Queue()
        gone: asyncio.Queue[UnaryCall] = asyncio.Queue()

        def start(call: UnaryCall) -> None:
            call.on_cancel = lambda: gone.put_nowait(call)
            calls.put_nowait(call)

        async with served({"/a/B": Unary(start)}) as address, grpc.aio.insecure_channel(address) as channel:
            method = channel.unary_unary("/a/B")
            pending = method(b"cancelled")
            first = await calls.get()
            pending.cancel()
            assert await gone.get() is first
            first.reply(b"too late")  # ignored

            late = method(b"late", timeout=0.2)
            second = await calls.get()
            assert second.deadline is not None
            assert abs(second.deadline - asyncio.get_running_loop().time()) < 5
            assert (await failure(late)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await gone.get() is second

            answered = method(b"answered")
            third = await calls.get()
            third.reply(b"ok")
            assert await answered == b"ok"
            answered.cancel()
            assert await _echoed(channel, calls)
            assert gone.empty()

    async def _echoed(channel: grpc.aio.Channel, calls: "asyncio.Queue[UnaryCall]") -> bool:
        pending = channel.unary_unary("/a/B")(b"x")
        (await calls.get()).reply(b"x")
        return bool(await pending == b"x")

    run(main)


def test_streams() -> None:
    """Messages both ways as they come; the edge's return is OK, its error the status."""

    async def converse(call: StreamCall) -> None:
        await call.send(b"hello")
        async for message in call:
            if message == b"bad":
                raise InvalidRequest("bad message", field="message")
            await call.send(message + b"!")

    async def main() -> None:
        async with served({"/a/B": Stream(converse)}) as address, grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream("/a/B")()
            assert await call.read() == b"hello"
            for word in (b"one", b"two"):
                await call.write(word)
                assert await call.read() == word + b"!"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            # A unary call of a method that is served as a stream.
            assert await channel.stream_unary("/a/B")(iter(())) == b"hello"
            failing = channel.stream_stream("/a/B")(iter([b"bad"]))
            assert await failing.read() == b"hello"
            assert (await failing.code()).name == "INVALID_ARGUMENT"
            assert await failing.details() == "message: bad message"

    run(main)


def test_a_stream_whose_caller_goes_is_cancelled() -> None:
    """The coroutine is cancelled, so that it can take back what it began."""

    async def main() -> None:
        begun = asyncio.Event()
        cancelled = asyncio.Event()

        async def wait(call: StreamCall) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with served({"/a/B": Stream(wait)}) as address, grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream("/a/B")()
            await begun.wait()
            call.cancel()
            await cancelled.wait()

    run(main)


def test_limits() -> None:
    """A message above the limit, either way and inflated too, is refused and the connection lives on."""
    limits = Limits(max_message_bytes=1000, max_header_bytes=2048)

    async def count(call: StreamCall) -> None:
        async for message in call:
            await call.send(str(len(message)).encode())

    async def main() -> None:
        methods = {
            "/a/Echo": Unary(echo),
            "/a/Grow": Unary(lambda call: call.reply(b"x" * 1001)),
            "/a/S": Stream(count),
        }
        async with served(methods, limits) as address, grpc.aio.insecure_channel(address) as channel:
            method = channel.unary_unary("/a/Echo")
            zipped = grpc.Compression.Gzip
            for size, call in (
                (1001, method(b"x" * 1001)),
                (2001, method(b"x" * 2001)),
                (1001, method(b"x" * 1001, compression=zipped)),
                (10**6, method(b"x" * 10**6, compression=zipped)),
                (1001, channel.unary_unary("/a/Grow")(b"")),
            ):
                error = await failure(call)
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                if size <= 2000:
                    assert "router.limits.max_message_bytes = 1000" in str(error.details())
            error = await failure(method(b"", metadata=(("x-a", "1" * 3000),)))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            stream = channel.stream_stream("/a/S")()
            await stream.write(b"x" * 1000)
            assert await stream.read() == b"1000"
            await stream.write(b"x" * 1001)
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "router.limits.max_message_bytes" in str(await stream.details())
            assert await method(b"x" * 1000, compression=zipped) == b"x" * 1000

    run(main)


def test_a_drain_lets_calls_finish_and_takes_no_new_ones() -> None:
    """What was accepted is answered; new calls find nobody."""

    async def main() -> None:
        calls: asyncio.Queue[UnaryCall] = asyncio.Queue()
        front = GrpcioFront({"/a/B": Unary(calls.put_nowait)}, "127.0.0.1", 0, Limits(), Tls())
        address = await front.start()
        async with grpc.aio.insecure_channel(address) as channel:
            pending = channel.unary_unary("/a/B")(b"x")
            call = await calls.get()
            draining = asyncio.ensure_future(front.drain(PATIENCE_S))
            error = await failure(channel.unary_unary("/a/B")(b"y", timeout=PATIENCE_S))
            # CANCELLED is what gRPC's core answers on a connection that it has not yet told to go away.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert calls.empty()
            assert not draining.done()
            call.reply(b"answered")
            assert await pending == b"answered"
            await draining

    run(main)


def test_a_drain_without_grace_ends_calls() -> None:
    """Calls still open when the grace is over are ended, and the edge is told."""

    async def main() -> None:
        gone = asyncio.Event()
        begun = asyncio.Event()

        def start(call: UnaryCall) -> None:
            call.on_cancel = gone.set
            begun.set()

        front = GrpcioFront({"/a/B": Unary(start)}, "127.0.0.1", 0, Limits(), Tls())
        async with grpc.aio.insecure_channel(await front.start()) as channel:
            pending = channel.unary_unary("/a/B")(b"x")
            await begun.wait()
            await front.drain(0)
            assert (await failure(pending)).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            await gone.wait()

    run(main)


def test_a_taken_port_is_an_error() -> None:
    """OSError naming the address, not a second server that shares the port."""

    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            front = GrpcioFront({}, "127.0.0.1", port, Limits(), Tls())
            with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
                await front.start()

    run(main)


def certificate(folder: Path) -> Tls:
    """A key pair for localhost, made for this test run."""
    paths = Tls(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", paths.key, "-out", paths.certificate], check=True, capture_output=True)
    return paths


def test_tls(tmp_path: Path) -> None:
    """With a certificate the port speaks TLS, offers h2, and nothing else."""
    tls = certificate(tmp_path)

    async def main() -> None:
        async with served({"/a/B": Unary(echo)}, tls=tls) as address:
            port = address.rpartition(":")[2]
            credentials = grpc.ssl_channel_credentials(Path(tls.certificate).read_bytes())
            async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
                assert await channel.unary_unary("/a/B")(b"safe") == b"safe"
            context = ssl.create_default_context(cafile=tls.certificate)
            context.set_alpn_protocols(["h2"])
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(port), ssl=context, server_hostname="localhost"
            )
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
            writer.close()
            del reader

    run(main)


def test_unusable_tls_files_are_an_error(tmp_path: Path) -> None:
    """Missing or nonsense: the front does not start."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    async def main() -> None:
        for path in (tmp_path / "missing.pem", nonsense):
            front = GrpcioFront({}, "127.0.0.1", 0, Limits(), Tls(certificate=str(path), key=str(path)))
            with pytest.raises(OSError):  # noqa: PT011  the system's own text
                await front.start()

    run(main)
