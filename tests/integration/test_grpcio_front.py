"""The grpcio front over real sockets, with the reference client."""

import asyncio
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
from tests.conformance.front_contract import CHECKS, Check

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


def make(methods: Methods, limits: Limits, tls: Tls) -> GrpcioFront:
    return GrpcioFront(methods, "127.0.0.1", 0, limits, tls)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_contract(check: Check) -> None:
    """What any front must do; each check says in its own docstring what it shows."""
    run(lambda: check(make))


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
