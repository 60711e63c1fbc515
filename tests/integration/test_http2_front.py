"""Our HTTP/2 front over real sockets: the contract, the reference client, and peers that behave badly."""

import asyncio
import gc
import gzip
import logging
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import grpc.aio
import hpack
import pytest
import uvloop

from router.front.calls import Methods, Stream, StreamCall, Unary, UnaryCall
from router.front.http2 import Http2Front
from router.front.http2_calls import Http2UnaryCall
from router.front.http2_connection import Http2Connection
from router.http2 import frames
from router.http2.limits import Http2Limits
from router.settings import Limits, Tls
from serving.errors import ConfigurationError, Shed
from tests.conformance.front_contract import CHECKS, Check, echo, echo_stream, failure
from tests.router.http2.wire import cut, data, grpc_frame, headers

PATIENCE_S = 20.0
UNARY = "/a/Unary"
METHODS: Methods = {UNARY: Unary(echo), "/a/Stream": Stream(echo_stream)}


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), PATIENCE_S)

    uvloop.run(bounded())


def make(methods: Methods, limits: Limits, tls: Tls) -> Http2Front:
    return Http2Front(methods, "127.0.0.1", 0, limits, tls)


@contextmanager
def quiet() -> Iterator[None]:
    """Errors that a test provokes on purpose are not printed."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract_on_uvloop(check: Check) -> None:
    """Everything router.front.calls promises."""
    with quiet():
        run(lambda: check(make))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract_on_plain_asyncio(check: Check) -> None:
    """The same where uvloop is missing."""

    async def bounded() -> None:
        await asyncio.wait_for(check(make), PATIENCE_S)

    with quiet():
        asyncio.run(bounded())


class Peer:
    """A raw client: sends any bytes, reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = hpack.Encoder()
        self._received = b""

    def send(self, *sent: bytes) -> None:
        self.writer.write(b"".join(sent))

    def greet(self, **values: int) -> None:
        self.send(frames.PREFACE, frames.settings({frames.Setting[name]: value for name, value in values.items()}))

    def request(self, stream_id: int, message: bytes = b"hi", path: str = UNARY) -> bytes:
        block = self.encoder.encode(headers(path))
        return frames.header_frames(stream_id, block, 0, 2**14) + data(
            stream_id, grpc_frame(message), frames.END_STREAM
        )

    async def frame(self, wanted: int) -> tuple[int, bytes]:
        """(stream id, payload) of the next frame of this type; others are passed over."""
        while True:
            head = await self.reader.readexactly(frames.HEAD_BYTES)
            size = int.from_bytes(head[:3], "big")
            ((kind, _, stream_id, payload),) = cut(head + await self.reader.readexactly(size))
            if kind == wanted:
                return stream_id, payload

    async def rest(self) -> bytes:
        """All until the server closes, tidily or not."""
        received = b""
        try:
            while chunk := await self.reader.read(65_536):
                received += chunk
        except ConnectionError:
            pass
        return received

    async def leave(self, served: "Bed") -> None:
        """Close, being the last; returns when the server knows."""
        self.writer.close()
        while served.front.counters.connections_open:
            await asyncio.sleep(0.01)


class Bed:
    def __init__(self, front: Http2Front, address: str) -> None:
        self.front = front
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self._peers: list[Peer] = []

    async def peer(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self._peers.append(peer)
        return peer

    async def works(self) -> None:
        """A well-behaved client is served."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            assert await channel.unary_unary(UNARY)(b"fine") == b"fine"

    def close(self) -> None:
        for peer in self._peers:
            peer.writer.transport.abort()


@asynccontextmanager
async def bed(methods: Methods | None = None, http2: Http2Limits | None = None) -> AsyncIterator[Bed]:
    front = Http2Front(methods or METHODS, "127.0.0.1", 0, Limits(), Tls(), http2=http2)
    bed = Bed(front, await front.start())
    try:
        yield bed
    finally:
        bed.close()
        await front.drain(0)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\x00" * 200,
        frames.PREFACE + b"\xff" * 100,
        frames.PREFACE + frames.settings({}) + frames.head(frames.DATA, 5, 0, 1) + b"early",
        frames.PREFACE + frames.settings({}) + frames.ping(b"12345678") * 5000,
        frames.PREFACE + frames.settings({}) + frames.head(frames.HEADERS, 2, 4, 1) + b"\xff\xff",
    ],
    ids=["http1", "tls", "zeros", "garbage", "idle-data", "ping-flood", "hpack"],
)
def test_bad_peers_are_cut_off_and_others_are_served(sent: bytes) -> None:
    """The connection is closed by us; a well-behaved client beside it notices nothing."""

    async def main() -> None:
        async with bed() as served:
            peer = await served.peer()
            peer.send(sent)
            await peer.rest()
            assert sum(served.front.counters.failures.values()) == 1
            await served.works()

    with quiet():
        run(main)


def _send_then_read(port: int, sent: bytes) -> bytes:
    """What a caller reads that looks up only after it has sent everything."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as caller:
        received = b""
        caller.sendall(sent)
        while chunk := caller.recv(65_536):
            received += chunk
        return received


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (frames.ping(b"12345678") * 200_000, b"too many control or empty frames"),
        (frames.head(frames.DATA, 2**20, 0, 1) + bytes(3_000_000), b"frame above SETTINGS_MAX_FRAME_SIZE"),
    ],
    ids=["ping", "frame-size"],
)
def test_a_caller_with_data_in_flight_reads_why_it_is_cut_off(more: bytes, why: bytes) -> None:
    """What it goes on sending is taken and thrown away, so that no reset destroys the GOAWAY before it looks."""

    async def main() -> None:
        async with bed(http2=Http2Limits(linger_s=PATIENCE_S)) as served:
            greeting = frames.PREFACE + frames.settings({})
            received = await asyncio.to_thread(_send_then_read, served.port, greeting + more)
            (goaway,) = [payload for kind, *_, payload in cut(received) if kind == frames.GOAWAY]
            assert goaway[8:] == why

    with quiet():
        run(main)


def test_a_caller_that_sends_without_end_is_cut_off() -> None:
    """After `linger_bytes` its connection is reset, whatever it has read."""

    async def main() -> None:
        async with bed(http2=Http2Limits(linger_s=PATIENCE_S, linger_bytes=2**20)) as served:
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(_send_then_read, served.port, b"\xff" * 50_000_000)
            await served.works()

    with quiet():
        run(main)


def test_a_caller_that_never_closes_is_cut_off_after_the_linger() -> None:
    """It has had `linger_s` to read why."""
    limits = Http2Limits(linger_s=0.1)

    async def main() -> None:
        async with bed(http2=limits) as served:
            peer = await served.peer()
            peer.send(frames.PREFACE, b"\xff" * 100)
            await peer.frame(frames.GOAWAY)
            assert served.front.counters.connections_open == 1
            while served.front.counters.connections_open:
                await asyncio.sleep(0.01)

    with quiet():
        run(main)


def test_an_http_1_client_reads_why() -> None:
    """curl on the gRPC port gets a sentence."""

    async def main() -> None:
        async with bed() as served:
            peer = await served.peer()
            peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = await peer.rest()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"gRPC" in answer

    with quiet():
        run(main)


def test_a_request_in_single_bytes() -> None:
    """The smallest segments there are."""

    async def main() -> None:
        async with bed() as served:
            peer = await served.peer()
            for byte in frames.PREFACE + frames.settings({}) + peer.request(1):
                peer.send(bytes((byte,)))
                await peer.writer.drain()
            assert await peer.frame(frames.DATA) == (1, grpc_frame(b"hi"))

    run(main)


def test_a_peer_that_vanishes_cancels_its_calls() -> None:
    """A connection that breaks is a cancel for every call on it."""

    async def main() -> None:
        begun: asyncio.Queue[UnaryCall] = asyncio.Queue()
        gone: asyncio.Queue[UnaryCall] = asyncio.Queue()

        def start(call: UnaryCall) -> None:
            call.on_cancel = lambda: gone.put_nowait(call)
            begun.put_nowait(call)

        async with bed({UNARY: Unary(start)}) as served:
            peer = await served.peer()
            peer.greet()
            peer.send(peer.request(1), peer.request(3))
            calls = {await begun.get(), await begun.get()}
            peer.writer.transport.abort()
            assert {await gone.get(), await gone.get()} == calls
            for call in calls:
                call.reply(b"too late")
            assert served.front.counters.connections_open == 0

    run(main)


def test_a_cancel_behind_its_request_starts_nothing() -> None:
    """Rapid reset never reaches the edge when both come in the same bytes."""

    async def main() -> None:
        started: list[UnaryCall] = []
        async with bed({UNARY: Unary(started.append)}) as served:
            peer = await served.peer()
            peer.greet()
            await peer.frame(frames.SETTINGS)
            peer.send(
                *(peer.request(sid) + frames.rst_stream(sid, 8) for sid in range(1, 41, 2)), frames.ping(bytes(8))
            )
            while (await peer.frame(frames.PING))[1] != bytes(8):
                pass
            assert started == []
            assert served.front.counters.resets_received == 20

    run(main)


def test_a_reader_that_never_reads_is_bounded_and_dropped() -> None:
    """Its replies wait within max_queued_bytes, further ones are refused, and in the end it is cut off."""
    limits = Http2Limits(write_buffer_bytes=65_536, write_stall_s=0.2, max_queued_bytes=20_000_000)

    async def main() -> None:
        cut_off = asyncio.Event()
        queued: list[int] = []

        def hang(call: UnaryCall) -> None:
            call.on_cancel = cut_off.set

        def flood(call: UnaryCall) -> None:
            call.reply(bytes(400_000))
            queued.extend(connection._http._sender.queued for connection in served.front._connections)

        async with bed({"/a/Hang": Unary(hang), UNARY: Unary(flood)}, limits) as served:
            peer = await served.peer()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            peer.greet(INITIAL_WINDOW_SIZE=2**31 - 1)
            peer.send(frames.window_update(0, 2**31 - 1 - 65_535), peer.request(1, path="/a/Hang"))
            peer.send(*(peer.request(sid) for sid in range(3, 203, 2)))
            await cut_off.wait()
            assert served.front.counters.dropped == 1
            assert len(queued) == 100
            assert 5_000_000 < max(queued) <= 20_000_000

    run(main)


def test_silent_peers_are_dropped() -> None:
    """One that never introduces itself, and one that does not answer a PING."""
    limits = Http2Limits(handshake_timeout_s=1.0, keepalive_idle_s=0.2, keepalive_timeout_s=0.2)

    async def main() -> None:
        async with bed(http2=limits) as served:
            mute = await served.peer()
            deaf = await served.peer()
            deaf.greet()
            assert await mute.rest() == b""
            assert (await deaf.frame(frames.PING))[1] == bytes(8)
            await deaf.rest()
            assert served.front.counters.dropped == 2

    run(main)


def test_a_request_that_never_ends_is_ended() -> None:
    """DEADLINE_EXCEEDED after the upload timeout; the connection lives on."""
    limits = Http2Limits(upload_timeout_s=0.1)

    async def main() -> None:
        async with bed(http2=limits) as served:
            peer = await served.peer()
            peer.greet()
            peer.send(frames.header_frames(1, peer.encoder.encode(headers(UNARY)), 0, 2**14), data(1, b"\0"))
            stream_id, block = await peer.frame(frames.HEADERS)
            assert stream_id == 1
            assert b"grpc-status\x014" in block
            peer.send(peer.request(3))
            assert await peer.frame(frames.DATA) == (3, grpc_frame(b"hi"))

    run(main)


def test_calls_whose_window_stays_shut_are_ended() -> None:
    """A reply and a stream that nobody takes are broken off after the stall time; the connection lives on."""
    limits = Http2Limits(write_stall_s=0.1)

    async def main() -> None:
        cancelled = asyncio.Event()

        async def send(call: StreamCall) -> None:
            try:
                await call.send(b"x" * 100)
            finally:
                cancelled.set()

        async with bed({UNARY: Unary(echo), "/a/Stream": Stream(send)}, limits) as served:
            peer = await served.peer()
            peer.greet(INITIAL_WINDOW_SIZE=0)
            peer.send(peer.request(1), peer.request(3, path="/a/Stream"))
            ended = {await peer.frame(frames.RST_STREAM), await peer.frame(frames.RST_STREAM)}
            assert ended == {(1, b"\0\0\0\x08"), (3, b"\0\0\0\x08")}
            await cancelled.wait()
            assert served.front.counters.connections_open == 1

    run(main)


def test_a_deadline_that_has_passed_on_arrival() -> None:
    """The edge is not asked at all, unary or streaming."""

    async def main() -> None:
        begun: list[object] = []

        async def stream(call: StreamCall) -> None:
            begun.append(call)

        async with bed({UNARY: Unary(begun.append), "/a/Stream": Stream(stream)}) as served:
            peer = await served.peer()
            peer.greet()
            for stream_id, path in ((1, UNARY), (3, "/a/Stream")):
                block = peer.encoder.encode(headers(path, grpc_timeout="0m"))
                peer.send(frames.header_frames(stream_id, block, 0, 2**14))
                peer.send(data(stream_id, grpc_frame(b"x"), frames.END_STREAM))
                got, reply = await peer.frame(frames.HEADERS)
                assert (got, b"grpc-status\x014" in reply) == (stream_id, True)
            assert begun == []

    run(main)


def test_faults_of_an_edge_stay_its_own() -> None:
    """Metadata that may not be sent and an on_cancel that raises harm no other call and leave none unanswered."""

    async def main() -> None:
        calls: asyncio.Queue[UnaryCall] = asyncio.Queue()

        def bad_reply(call: UnaryCall) -> None:
            call.reply(b"x", (("Not-Lower", "1"),))

        def bad_failure(call: UnaryCall) -> None:
            call.fail(Shed("busy"), (("x", "line\nbreak"),))

        def bad_cancel(call: UnaryCall) -> None:
            call.on_cancel = lambda: calls.put_nowait(call) or 1 / 0  # type: ignore[func-returns-value]

        methods = {"/a/R": bad_reply, "/a/F": bad_failure, "/a/C": bad_cancel, UNARY: echo}
        async with (
            bed({path: Unary(start) for path, start in methods.items()}) as served,
            grpc.aio.insecure_channel(served.address) as channel,
        ):
            assert (await failure(channel.unary_unary("/a/R")(b""))).code() is grpc.StatusCode.INTERNAL
            assert (await failure(channel.unary_unary("/a/F")(b""))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await failure(channel.unary_unary("/a/C")(b"", timeout=0.1))
            await calls.get()
            assert await channel.unary_unary(UNARY)(b"fine") == b"fine"

    with quiet():
        run(main)


def test_a_compressed_stream() -> None:
    """Each message is undone as it is read; a bomb ends that call only."""

    async def main() -> None:
        front = make(METHODS, Limits(max_message_bytes=100_000), Tls())
        async with grpc.aio.insecure_channel(await front.start(), compression=grpc.Compression.Gzip) as channel:
            stream = channel.stream_stream("/a/Stream")()
            for word in (b"one" * 1000, b"two" * 1000):
                await stream.write(word)
                assert await stream.read() == word
            await stream.write(bytes(10_000_000))
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "router.limits.max_message_bytes" in str(await stream.details())
            assert await channel.unary_unary(UNARY)(b"fine") == b"fine"
        await front.drain(0)

    run(main)


def test_large_compressed_messages_do_not_hold_up_others() -> None:
    """They are inflated on a thread: calls that came later are answered first, and each gets its own message back."""
    large = bytes(60_000_000)

    async def main() -> None:
        order: list[int] = []

        def start(call: UnaryCall) -> None:
            order.append(len(call.message))
            call.reply(call.message[:10])

        front = make({UNARY: Unary(start), "/a/Stream": Stream(echo_stream)}, Limits(), Tls())
        peer = Bed(front, await front.start())
        raw = await peer.peer()
        raw.greet(INITIAL_WINDOW_SIZE=2**30)
        packed = grpc_frame(gzip.compress(large, 1), flag=1)
        block = raw.encoder.encode(headers(UNARY, grpc_encoding="gzip"))
        raw.send(frames.header_frames(1, block, 0, 2**14))
        pieces = [packed[at : at + 2**14] for at in range(0, len(packed), 2**14)]
        raw.send(*(data(1, piece) for piece in pieces), data(1, b"", frames.END_STREAM))
        raw.send(raw.request(3), raw.request(5))
        answered = [(await raw.frame(frames.DATA))[0] for _ in range(3)]
        assert answered == [3, 5, 1]
        assert order == [2, 2, len(large)]
        async with grpc.aio.insecure_channel(
            peer.address, compression=grpc.Compression.Gzip, options=(("grpc.max_receive_message_length", -1),)
        ) as channel:
            stream = channel.stream_stream("/a/Stream")()
            for size in (10, 200_000, 3_000_000):
                await stream.write(bytes(size))
                assert await stream.read() == bytes(size)
        peer.close()
        await front.drain(0)

    run(main)


def test_a_large_bomb_and_a_caller_who_does_not_wait() -> None:
    """What inflates past the limit is refused by name; a call cancelled while it is inflated never starts."""

    async def main() -> None:
        started: list[UnaryCall] = []
        async with bed({UNARY: Unary(started.append)}, Http2Limits(max_message_bytes=1_000_000)) as served:
            peer = await served.peer()
            peer.greet()
            for stream_id, size in ((1, 999_999), (3, 50_000_000)):
                block = peer.encoder.encode(headers(UNARY, grpc_encoding="gzip"))
                body = grpc_frame(gzip.compress(bytes(size)), flag=1)
                peer.send(frames.header_frames(stream_id, block, 0, 2**14))
                peer.send(*(data(stream_id, body[at : at + 2**14]) for at in range(0, len(body), 2**14)))
                peer.send(data(stream_id, b"", frames.END_STREAM))
                if stream_id == 1:
                    peer.send(frames.rst_stream(1, 8))
            stream_id, block = await peer.frame(frames.HEADERS)
            assert stream_id == 3
            assert b"router.limits.max_message_bytes" in block
            assert started == []
            assert served.front.counters.refused == {"message_too_large": 1}

    run(main)


def test_old_connections_are_asked_to_go() -> None:
    """A client that calls without end moves from connection to connection and loses no call."""
    limits = Http2Limits(max_connection_age_s=0.1)

    async def main() -> None:
        async with bed(http2=limits) as served, grpc.aio.insecure_channel(served.address) as channel:
            method = channel.unary_unary(UNARY)
            number = 0
            while served.front.counters.connections < 4:
                assert await method(b"%d" % number) == b"%d" % number
                number += 1
            assert served.front.counters.aged >= 3

    run(main)


def test_calls_outlive_an_old_connection_for_the_grace_only() -> None:
    """One that ends in time is answered; one that does not is UNAVAILABLE, naming the setting."""
    limits = Http2Limits(max_connection_age_s=0.1, max_connection_age_grace_s=0.4)

    async def main() -> None:
        calls: asyncio.Queue[UnaryCall] = asyncio.Queue()
        async with bed({UNARY: Unary(calls.put_nowait)}, limits) as served:
            peer = await served.peer()
            peer.greet()
            peer.send(peer.request(1), peer.request(3))
            first = await calls.get()
            assert (await peer.frame(frames.GOAWAY))[1][:4] == b"\x7f\xff\xff\xff"
            peer.send(frames.ping(b"draining", frames.ACK))
            assert (await peer.frame(frames.GOAWAY))[1][:4] == b"\0\0\0\x03"
            first.reply(b"in time")
            assert await peer.frame(frames.DATA) == (1, grpc_frame(b"in time"))
            rest = await peer.rest()
            assert b"router.limits.max_connection_age_s" in rest
            await peer.leave(served)

    run(main)


def test_calls_leave_no_garbage() -> None:
    """However a call ends, nothing of it waits for the garbage collector: memory stays flat without one."""

    async def main() -> None:
        def start(call: UnaryCall) -> None:
            call.on_cancel = lambda: call.fail(Shed("gone"))  # a circle, as edges make it
            if call.message == b"reply":
                call.reply(b"ok")
            elif call.message == b"fail":
                call.fail(Shed("busy"))

        async with bed({UNARY: Unary(start)}) as served:
            peer = await served.peer()
            peer.greet()
            ids = iter(range(1, 1000, 2))
            gc.collect()
            for message in (b"reply", b"fail", b"cancel"):
                for stream_id in [next(ids) for _ in range(20)]:
                    peer.send(peer.request(stream_id, message))
                    if message == b"cancel":
                        peer.send(frames.ping(bytes(8)), frames.rst_stream(stream_id, 8))
                        await peer.frame(frames.PING)
                    else:
                        await peer.frame(frames.HEADERS)
            peer.send(frames.ping(b"all done"))
            while (await peer.frame(frames.PING))[1] != b"all done":
                pass
            assert not [each for each in gc.get_objects() if isinstance(each, Http2UnaryCall)]

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_failed_connections_leave_no_garbage() -> None:
    """Nothing of a connection that was cut off waits for the garbage collector, nor what it had sent."""

    async def main() -> None:
        async with bed() as served:
            gc.collect()
            for _ in range(10):
                peer = await served.peer()
                peer.greet()
                peer.send(peer.request(1), frames.head(frames.DATA, 5, 0, 99) + bytes(5))
                await peer.rest()
                await peer.leave(served)
            assert not [each for each in gc.get_objects() if isinstance(each, Http2Connection)]

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_more_connections_than_allowed() -> None:
    """One too many is closed at once and counted; when another goes, there is room again."""

    async def main() -> None:
        async with bed(http2=Http2Limits(max_connections=1)) as served:
            first = await served.peer()
            first.greet()
            await first.frame(frames.SETTINGS)
            second = await served.peer()
            assert await second.rest() == b""
            counters = served.front.counters
            assert (counters.connections_open, counters.connections_refused) == (1, 1)
            first.send(frames.PREFACE)  # breaks the protocol
            await first.rest()
            await first.leave(served)
            await served.works()

    with quiet():
        run(main)


def test_counters() -> None:
    """What the router's metrics export: connections, calls, resets, refusals by reason."""

    async def main() -> None:
        async with bed() as served:
            async with grpc.aio.insecure_channel(served.address) as channel:
                for _ in range(3):
                    await channel.unary_unary(UNARY)(b"x")
                await failure(channel.unary_unary("/a/Nothing")(b"x"))
            counters = served.front.counters
            assert (counters.connections, counters.streams) == (1, 4)
            assert counters.refused == {"unknown_path": 1}

    run(main)


def test_a_drain_under_load_loses_nothing() -> None:
    """Every call that was begun before the listener closed is answered or safely refused, never half done."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        front = make({UNARY: Unary(lambda call: loop.call_later(0.01, call.reply, call.message))}, Limits(), Tls())
        address = await front.start()
        channels = [
            grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) for _ in range(4)
        ]
        done: list[bytes] = []
        refused: list[str] = []
        enough = asyncio.Event()

        async def caller(channel: grpc.aio.Channel) -> None:
            while not refused:
                try:
                    done.append(await channel.unary_unary(UNARY)(b"x"))
                except grpc.aio.AioRpcError as error:
                    refused.append(error.code().name)
                if len(done) > 200:
                    enough.set()

        callers = [asyncio.ensure_future(caller(channel)) for channel in channels for _ in range(8)]
        await enough.wait()
        await front.drain(PATIENCE_S)
        await asyncio.gather(*callers)
        assert set(done) == {b"x"}
        assert set(refused) == {"UNAVAILABLE"}
        for channel in channels:
            await channel.close()

    run(main)


def test_a_drain_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    """Its connection is aborted a little after the grace."""

    async def main() -> None:
        replied = asyncio.Event()

        def flood(call: UnaryCall) -> None:
            call.reply(bytes(30_000_000))
            replied.set()

        front = make({UNARY: Unary(flood)}, Limits(), Tls())
        served = Bed(front, await front.start())
        peer = await served.peer()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.greet(INITIAL_WINDOW_SIZE=2**31 - 1)
        peer.send(frames.window_update(0, 2**31 - 1 - 65_535), peer.request(1))
        await replied.wait()
        await front.drain(0)
        assert front.counters.connections_open == 0
        served.close()
        await peer.rest()

    run(main)


def certificate(folder: Path) -> Tls:
    """A key pair for localhost, made for this test run."""
    paths = Tls(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", paths.key, "-out", paths.certificate], check=True, capture_output=True)
    return paths


@pytest.mark.parametrize("runner", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def test_tls(tmp_path: Path, runner: Callable[[Awaitable[None]], None]) -> None:
    """With a certificate the port speaks TLS and h2 by ALPN; a client that does not ask for h2 is refused."""
    tls = certificate(tmp_path)

    async def main() -> None:
        front = make(METHODS, Limits(), tls)
        port = int((await front.start()).rpartition(":")[2])
        credentials = grpc.ssl_channel_credentials(Path(tls.certificate).read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            assert await channel.unary_unary(UNARY)(b"safe") == b"safe"
            assert await channel.unary_unary(UNARY)(bytes(3_000_000)) == bytes(3_000_000)
        context = ssl.create_default_context(cafile=tls.certificate)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.write(frames.PREFACE)
            assert await reader.read() == b""
            writer.close()
        except ConnectionError:
            pass
        assert front.counters.connections_refused == 1
        await front.drain(0)

    runner(asyncio.wait_for(main(), PATIENCE_S))


def test_unusable_tls_files_are_an_error(tmp_path: Path) -> None:
    """Missing or nonsense: the front is not made, and the setting is named."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path in (tmp_path / "missing.pem", nonsense):
        with pytest.raises(ConfigurationError, match=r"router\.tls\.certificate"):
            make(METHODS, Limits(), Tls(certificate=str(path), key=str(path)))


def test_a_taken_port_is_an_error() -> None:
    """OSError, not a second server that shares the port."""

    async def main() -> None:
        async with bed() as served:
            front = Http2Front(METHODS, "127.0.0.1", served.port, Limits(), Tls())
            with pytest.raises(OSError, match="in use"):
                await front.start()
            await front.drain(0)

    run(main)


def test_a_stream_that_nobody_reads_waits() -> None:
    """`send` waits for the caller's window; nothing piles up meanwhile."""

    async def main() -> None:
        sent: list[int] = []

        async def flood(call: StreamCall) -> None:
            for number in range(100):
                await call.send(bytes(50_000))
                sent.append(number)

        async with bed({"/a/Stream": Stream(flood)}) as served:
            peer = await served.peer()
            peer.greet(INITIAL_WINDOW_SIZE=100_000)
            block = peer.encoder.encode(headers("/a/Stream"))
            peer.send(frames.header_frames(1, block, frames.END_STREAM, 2**14), frames.ping(b"are we ?"))
            received = 0
            while received < 65_535:  # the connection's window
                received += len((await peer.frame(frames.DATA))[1])
            assert sent == [0]
            peer.send(frames.window_update(0, 2**30), frames.window_update(1, 2**30))
            while received < 100 * 50_005:
                received += len((await peer.frame(frames.DATA))[1])
            stream_id, block = await peer.frame(frames.HEADERS)
            assert (stream_id, b"grpc-status\x010" in block) == (1, True)

    run(main)


def test_callers_who_send_much_at_once_leave_the_loop_to_others() -> None:
    """Between a thousand requests that arrive together the loop has its turns, in which it reads the workers' answers;
    no caller waits for another's whole lot, all are answered, and of two that share a connection the first is first."""

    async def main() -> None:
        turns = 0
        order: list[tuple[bytes, int]] = []

        def slow(call: UnaryCall) -> None:
            end = time.monotonic() + 0.0002
            while time.monotonic() < end:
                pass
            order.append((call.message[:1], turns))
            call.reply(call.message)

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        async with bed({UNARY: Unary(slow)}) as served:
            callers = [await served.peer() for _ in range(2)]
            for caller in callers:
                caller.greet(INITIAL_WINDOW_SIZE=2**20)
            turn()
            for name, caller in zip((b"a", b"b"), callers, strict=True):
                caller.send(*[caller.request(2 * number + 1, name + b"%d" % number) for number in range(100)])
            for name, caller in zip((b"a", b"b"), callers, strict=True):
                answers = [(await caller.frame(frames.DATA))[1][5:] for _ in range(100)]
                assert answers == [name + b"%d" % number for number in range(100)]
        first, last = order[0][1], order[-1][1]
        assert last - first >= 10  # 200 of 0.2 ms each, at most 2 ms of them a turn
        assert b"b" in [name for name, _ in order[:120]]

    run(main)
