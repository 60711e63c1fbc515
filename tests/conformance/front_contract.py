"""What router.front.calls promises, as plain functions that take a front's factory; every front must pass them all.

    @pytest.mark.parametrize("check", CHECKS, ids=names)
    def test_contract(check): asyncio.run(check(lambda methods, limits, tls: MyFront(methods, "127.0.0.1", 0, ...)))

The client is gRPC's C-core through grpc.aio, so this is also what callers see. Where the two stacks cannot but differ
(docstring of router.front.grpcio) the checks leave it open.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import grpc
import grpc.aio

from router.front.calls import Front, Methods, Stream, StreamCall, Unary, UnaryCall
from router.settings import Limits, Tls
from serving.errors import InvalidRequest, Shed

FrontFactory = Callable[[Methods, Limits, Tls], Front]
Check = Callable[[FrontFactory], Awaitable[None]]

PATIENCE_S: Final = 20.0
LARGE: Final = 10 * 1024 * 1024
# The client's own limit must not be what is tested.
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@asynccontextmanager
async def serving(
    make: FrontFactory, methods: Methods, limits: Limits | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a front that serves `methods`; both are closed at the end."""
    front = make(methods, limits or Limits(), Tls())
    address = await front.start()
    try:
        async with grpc.aio.insecure_channel(address, options=_UNLIMITED) as channel:
            yield channel
    finally:
        await front.drain(0)


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def echo(call: UnaryCall) -> None:
    call.reply(call.message)


async def echo_stream(call: StreamCall) -> None:
    async for message in call:
        await call.send(message)


async def unary_call(make: FrontFactory) -> None:
    """Message bytes pass unchanged, metadata both ways; the edge sees path, peer and no deadline."""
    seen: list[UnaryCall] = []

    def start(call: UnaryCall) -> None:
        seen.append(call)
        call.reply(call.message[::-1], (("x-request-id", "abc"), ("trace-bin", b"\x00\xff")))

    async with serving(make, {"/a/B": Unary(start)}) as channel:
        call = channel.unary_unary("/a/B")(b"\x00\x01", metadata=(("x-a", "1"), ("x-a", "2"), ("k-bin", b"\xfe")))
        assert await call == b"\x01\x00"
        initial = dict(await call.initial_metadata())
        assert (initial["x-request-id"], initial["trace-bin"]) == ("abc", b"\x00\xff")
        assert await channel.unary_unary("/a/B")(b"") == b""
    call_seen = seen[0]
    assert (call_seen.path, call_seen.deadline) == ("/a/B", None)
    assert call_seen.peer.startswith("127.0.0.1:")
    assert [value for name, value in call_seen.metadata if name == "x-a"] == ["1", "2"]
    got = dict(call_seen.metadata)
    assert got["k-bin"] == b"\xfe"
    assert not [name for name in got if name.startswith((":", "grpc-")) or name in ("te", "content-type")]


async def answers_may_come_later(make: FrontFactory) -> None:
    """A call may be answered from anywhere in the loop; the second answer is ignored."""
    calls: asyncio.Queue[UnaryCall] = asyncio.Queue()
    async with serving(make, {"/a/B": Unary(calls.put_nowait)}) as channel:
        pending = [channel.unary_unary("/a/B")(b"%d" % number) for number in range(5)]
        for call in reversed([await calls.get() for _ in pending]):
            call.reply(b"re " + call.message)
            call.reply(b"twice")
            call.fail(InvalidRequest("too late"))
        assert [await answer for answer in pending] == [b"re %d" % number for number in range(5)]


async def failures(make: FrontFactory) -> None:
    """Status, text, retry delay and metadata; any other exception is INTERNAL and tells nothing."""

    def refuse(call: UnaryCall) -> None:
        raise InvalidRequest("wrong ü %41", field="inputs[0]", remedy="send another")

    def shed(call: UnaryCall) -> None:
        call.fail(Shed("too many", retry_after_s=0.25), (("x-request-id", "abc"),))
        call.reply(b"ignored")

    def crash(call: UnaryCall) -> None:
        raise ZeroDivisionError("secret")

    methods = {"/a/Refuse": Unary(refuse), "/a/Shed": Unary(shed), "/a/Crash": Unary(crash), "/a/Echo": Unary(echo)}
    async with serving(make, methods) as channel:
        error = await failure(channel.unary_unary("/a/Refuse")(b""))
        assert (error.code().name, error.details()) == ("INVALID_ARGUMENT", "inputs[0]: wrong ü %41; send another")
        error = await failure(channel.unary_unary("/a/Shed")(b""))
        trailers = dict(error.trailing_metadata())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (trailers["retry-after-ms"], trailers["x-request-id"]) == ("250", "abc")
        error = await failure(channel.unary_unary("/a/Crash")(b""))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(error.details())
        error = await failure(channel.unary_unary("/a/Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "/a/Nothing" in str(error.details())
        assert await channel.unary_unary("/a/Echo")(b"still works") == b"still works"


async def cancel_and_deadline(make: FrontFactory) -> None:
    """on_cancel is called once for a caller that goes and for a deadline that passes, never after an answer."""
    calls: asyncio.Queue[UnaryCall] = asyncio.Queue()
    gone: asyncio.Queue[UnaryCall] = asyncio.Queue()

    def start(call: UnaryCall) -> None:
        call.on_cancel = lambda: gone.put_nowait(call)
        calls.put_nowait(call)

    async with serving(make, {"/a/B": Unary(start)}) as channel:
        method = channel.unary_unary("/a/B")
        cancelled = method(b"cancelled")
        first = await calls.get()
        cancelled.cancel()
        assert await gone.get() is first
        first.reply(b"too late")
        late = method(b"late", timeout=0.5)
        second = await calls.get()
        assert second.deadline is not None
        assert abs(second.deadline - asyncio.get_running_loop().time()) < 5
        assert (await failure(late)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await gone.get() is second
        second.fail(Shed("too late"))
        answered = method(b"answered", timeout=PATIENCE_S)
        third = await calls.get()
        third.reply(b"ok")
        assert await answered == b"ok"
        again = method(b"again")
        (await calls.get()).reply(b"ok")
        assert await again == b"ok"
        assert gone.empty()


async def streams(make: FrontFactory) -> None:
    """Messages both ways as they come; the edge's return is OK, its error the status; all streaming kinds."""

    async def converse(call: StreamCall) -> None:
        await call.send(b"hello")
        async for message in call:
            if message == b"bad":
                raise InvalidRequest("bad message", field="message")
            if message == b"crash":
                raise ZeroDivisionError("secret")
            await call.send(message + b"!")

    async def total(call: StreamCall) -> None:
        await call.send(str(sum([len(message) async for message in call])).encode())

    async def count(call: StreamCall) -> None:
        async for message in call:
            for number in range(int(message)):
                await call.send(b"%d" % number)

    methods = {"/a/Both": Stream(converse), "/a/Up": Stream(total), "/a/Down": Stream(count)}
    async with serving(make, methods) as channel:
        call = channel.stream_stream("/a/Both")()
        assert await call.read() == b"hello"
        for word in (b"one", b"", b"two"):
            await call.write(word)
            assert await call.read() == word + b"!"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert await channel.stream_unary("/a/Up")(iter([b"abc"] * 100)) == b"300"
        assert [int(reply) async for reply in channel.unary_stream("/a/Down")(b"200")] == list(range(200))
        for word, status in ((b"bad", "INVALID_ARGUMENT"), (b"crash", "INTERNAL")):
            call = channel.stream_stream("/a/Both")(iter([word]))
            assert await call.read() == b"hello"
            assert (await call.code()).name == status
            assert "secret" not in str(await call.details())


async def a_stream_whose_caller_goes(make: FrontFactory) -> None:
    """The coroutine is cancelled: by the caller's cancel, and by its deadline."""
    begun: asyncio.Queue[None] = asyncio.Queue()
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def wait(call: StreamCall) -> None:
        begun.put_nowait(None)
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(None)

    async with serving(make, {"/a/B": Stream(wait)}) as channel:
        call = channel.stream_stream("/a/B")()
        await begun.get()
        call.cancel()
        await ended.get()
        late = channel.stream_stream("/a/B")(timeout=0.5)
        await begun.get()
        assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await ended.get()


async def large_messages(make: FrontFactory) -> None:
    """Ten megabytes both ways, unary and streaming, beside small calls; compressed too."""
    large = bytes(range(256)) * (LARGE // 256)
    async with serving(make, {"/a/Echo": Unary(echo), "/a/S": Stream(echo_stream)}) as channel:
        unary = channel.unary_unary("/a/Echo")
        both = [unary(large), unary(large), *(unary(b"small") for _ in range(10))]
        assert [len(await call) for call in both] == [LARGE, LARGE, *[5] * 10]
        assert await unary(large, compression=grpc.Compression.Gzip) == large
        stream = channel.stream_stream("/a/S")()
        for _ in range(3):
            await stream.write(large)
            assert await stream.read() == large
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK


async def many_calls(make: FrontFactory) -> None:
    """A thousand at once on one connection, each answered with its own message, in an order of our own."""
    waiting: list[UnaryCall] = []
    count = 1000

    def start(call: UnaryCall) -> None:
        waiting.append(call)
        if len(waiting) == count:
            for each in sorted(waiting, key=lambda call: hash(call.message)):
                each.reply(each.message)

    async with serving(make, {"/a/B": Unary(start)}) as channel:
        method = channel.unary_unary("/a/B")
        replies = await asyncio.gather(*(method(b"%d" % number) for number in range(count)))
    assert replies == [b"%d" % number for number in range(count)]


async def message_limit(make: FrontFactory) -> None:
    """Above the limit, either way and inflated too: refused by name of the setting; the connection lives on."""
    methods = {
        "/a/Echo": Unary(echo),
        "/a/Grow": Unary(lambda call: call.reply(b"x" * 1001)),
        "/a/S": Stream(echo_stream),
    }
    async with serving(make, methods, Limits(max_message_bytes=1000)) as channel:
        method = channel.unary_unary("/a/Echo")
        zipped = grpc.Compression.Gzip
        calls = [method(b"x" * 1001), method(b"x" * 1001, compression=zipped), channel.unary_unary("/a/Grow")(b"")]
        for call in calls:
            error = await failure(call)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "router.limits.max_message_bytes = 1000" in str(error.details())
        bomb = await failure(method(bytes(10**6), compression=zipped))
        assert bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = channel.stream_stream("/a/S")()
        await stream.write(b"x" * 1000)
        assert await stream.read() == b"x" * 1000
        await stream.write(b"x" * 1001)
        assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await method(b"x" * 1000, compression=zipped) == b"x" * 1000


async def drain_lets_calls_finish(make: FrontFactory) -> None:
    """What was accepted is answered, streams included; new calls find nobody."""
    held: asyncio.Queue[UnaryCall] = asyncio.Queue()

    def start(call: UnaryCall) -> None:
        if call.message == b"hold":
            held.put_nowait(call)
        else:
            call.reply(call.message)

    front = make({"/a/B": Unary(start), "/a/S": Stream(echo_stream)}, Limits(), Tls())
    address = await front.start()
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary("/a/B")
        stream = channel.stream_stream("/a/S")()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        pending = method(b"hold")
        call = await held.get()
        draining = asyncio.ensure_future(front.drain(PATIENCE_S))
        refusal = await _first_refusal(method)
        assert refusal in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert not draining.done()
        call.reply(b"answered")
        assert await pending == b"answered"
        await stream.write(b"after")
        assert await stream.read() == b"after"
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        await draining


async def _first_refusal(method: Callable[..., Awaitable[bytes]]) -> grpc.StatusCode:
    """Call until that fails: before the client has heard of the drain, its calls may still be answered."""
    while True:
        try:
            assert await method(b"new", timeout=PATIENCE_S) == b"new"
        except grpc.aio.AioRpcError as error:
            return error.code()


async def drain_without_grace(make: FrontFactory) -> None:
    """Calls still open when the grace is over are ended, and their edges are told."""
    gone: asyncio.Queue[str] = asyncio.Queue()
    begun: asyncio.Queue[None] = asyncio.Queue()

    def start(call: UnaryCall) -> None:
        call.on_cancel = lambda: gone.put_nowait("unary")
        begun.put_nowait(None)

    async def wait(call: StreamCall) -> None:
        begun.put_nowait(None)
        try:
            await asyncio.Event().wait()
        finally:
            gone.put_nowait("stream")

    front = make({"/a/B": Unary(start), "/a/S": Stream(wait)}, Limits(), Tls())
    async with grpc.aio.insecure_channel(await front.start()) as channel:
        pending = channel.unary_unary("/a/B")(b"x")
        stream = channel.stream_stream("/a/S")()
        await begun.get()
        await begun.get()
        await front.drain(0)
        ends = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert (await failure(pending)).code() in ends
        assert await stream.code() in ends
        assert {await gone.get(), await gone.get()} == {"unary", "stream"}


async def old_connections_are_left(make: FrontFactory) -> None:
    """A client that calls without end is moved to new connections and loses no call."""
    seen: set[str] = set()

    def start(call: UnaryCall) -> None:
        seen.add(call.peer)
        call.reply(call.message)

    async with serving(make, {"/a/B": Unary(start)}, Limits(max_connection_age_s=0.2)) as channel:
        method = channel.unary_unary("/a/B")
        number = 0
        while len(seen) < 3:
            assert await method(b"%d" % number) == b"%d" % number
            number += 1


CHECKS: Final[tuple[Check, ...]] = (
    unary_call,
    answers_may_come_later,
    failures,
    cancel_and_deadline,
    streams,
    a_stream_whose_caller_goes,
    large_messages,
    many_calls,
    message_limit,
    drain_lets_calls_finish,
    drain_without_grace,
    old_connections_are_left,
)
