"""A real router core with a worker and an agent of the test's own, and calls as a front would make them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from protos import inference_pb2, link_pb2, model_config_pb2
from router.compose import compose
from router.core import Core
from router.edge.grpc.methods import methods
from router.front.calls import Metadata, Stream, Unary
from router.link.peers import Agent
from router.replica import Replica
from router.settings import RouterSettings
from serving.errors import DodonaError
from serving.link.framing import FrameReader, cut
from serving.status import Status

T = TypeVar("T")

PATIENCE_S = 10.0
"""Bound of every wait in these tests; nothing takes that long unless it hangs."""


def make_core(settings: RouterSettings | None = None) -> Core:
    """A core without listeners, on the running loop's clock; it counts as listening."""
    loop = asyncio.get_running_loop()
    core = compose(settings or RouterSettings(), clock=loop.time, call_at=loop.call_at)
    core.listeners["grpc"] = "127.0.0.1:8001"
    return core


def model(name: str = "echo", version: str = "1", handle: int = 1, **fields: Any) -> link_pb2.Model:
    """What a worker announces: one FP32 [2] input and output named x and y, batched."""
    config = model_config_pb2.ModelConfig(name=name, platform="onnxruntime_onnx", max_batch_size=8)
    values: dict[str, Any] = {
        "framework": "onnx",
        "batched": True,
        "max_batch_rows": 8,
        "inputs": [link_pb2.TensorSpec(name="x", datatype="FP32", shape=[2])],
        "outputs": [link_pb2.TensorSpec(name="y", datatype="FP32", shape=[2], labels=["a", "b"])],
        "config": config.SerializeToString(),
    }
    return link_pb2.Model(handle=handle, name=name, version=version, **(values | fields))


def infer_request(name: str = "echo", number: str = "", version: str = "") -> bytes:
    """One row of x = [1, 2]; `number` is the request's id."""
    request = inference_pb2.ModelInferRequest(model_name=name, model_version=version, id=number)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(b"\x00\x00\x80?\x00\x00\x00@")
    return request.SerializeToString()


def echo(name: str, message: bytes) -> bytes:
    """Give the first input back as output y."""
    request = inference_pb2.ModelInferRequest.FromString(message)
    response = inference_pb2.ModelInferResponse(model_name=name, model_version="1", id=request.id)
    response.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    response.raw_output_contents.extend(request.raw_input_contents)
    return response.SerializeToString()


class Job:
    """One request as the worker got it; the test answers it."""

    def __init__(self, worker: "FakeWorker", number: int, handle: int, message: bytes) -> None:
        self.number = number
        self.handle = handle
        self.message = message
        self._worker = worker

    def reply(self) -> None:
        """Answer as the worker's model does."""
        try:
            payload = self._worker.answer(self._worker.names[self.handle], self.message)
        except DodonaError as error:
            self.fail(error.status, error.message, field=error.field, remedy=error.remedy)
            return
        results = link_pb2.Results(
            handle=self.handle, ids=[self.number], sizes=[len(payload)], queue_us=[1], rows=1, infer_us=5
        )
        self._worker.say(link_pb2.Envelope(results=results), payload)

    def fail(self, status: Status, message: str, *, field: str = "", remedy: str = "") -> None:
        failure = link_pb2.Failure(index=0, status=status, message=message, field=field, remedy=remedy)
        results = link_pb2.Results(handle=self.handle, ids=[self.number], sizes=[0], queue_us=[0], failures=[failure])
        self._worker.say(link_pb2.Envelope(results=results))


class FakeWorker:
    """Joined to the core without a socket. Where `automatic`, it answers at once; else jobs wait in `jobs`.

    `answer(model name, request bytes)` is its model: response bytes, or DodonaError.
    """

    def __init__(
        self,
        core: Core,
        *models: link_pb2.Model,
        automatic: bool = True,
        answer: Callable[[str, bytes], bytes] = echo,
    ) -> None:
        self.jobs: asyncio.Queue[Job] = asyncio.Queue()
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self.automatic = automatic
        self.answer = answer
        self.names: dict[int, str] = {}
        self._core = core
        self._reader = FrameReader()
        self._loop = asyncio.get_running_loop()
        hello = link_pb2.Hello(name="worker", role=link_pb2.ROLE_WORKER, framework="onnx")
        self.replica = Replica(hello, write=self._heard, soon=self._loop.call_soon, clock=core.clock)
        core.peers.joined(self.replica, self._heard)
        self.announce(*(models or (model(),)))

    def announce(self, *models: link_pb2.Model) -> None:
        """Serve these and no others, with room for many requests."""
        self.names = {one.handle: one.name for one in models}
        self.say(link_pb2.Envelope(models=link_pb2.Models(models=models)))
        for one in models:
            self.say(link_pb2.Envelope(credit=link_pb2.Credit(handle=one.handle, window_rows=1000)))

    def say(self, envelope: link_pb2.Envelope, payload: bytes = b"") -> None:
        self._core.peers.heard(self.replica, envelope, memoryview(payload))

    async def job(self) -> Job:
        return await within(self.jobs.get())

    def _heard(self, buffers: Iterable[bytes]) -> None:
        for envelope, payload in self._reader.feed(b"".join(buffers)):
            for number in envelope.cancel.ids:
                self.cancelled.put_nowait(number)
            work = envelope.work
            messages = cut(payload, work.sizes)
            for number, handle, message in zip(work.ids, work.handles, messages, strict=True):
                job = Job(self, number, handle, message)
                if self.automatic:
                    self._loop.call_soon(job.reply)
                else:
                    self.jobs.put_nowait(job)


class FakeAgent:
    """Settles every wish with what `act` says of it, else with `status` and `message`, and keeps it in `wishes`."""

    def __init__(
        self,
        core: Core,
        status: Status = Status.OK,
        message: str = "",
        act: Callable[[link_pb2.Control], tuple[Status, str]] | None = None,
    ) -> None:
        self.wishes: list[link_pb2.Control] = []
        self.status = status
        self.message = message
        self.act = act or (lambda _: (self.status, self.message))
        self._core = core
        self._agent = Agent(link_pb2.Hello(name="agent", role=link_pb2.ROLE_AGENT), core.clock())
        core.peers.joined(self._agent, self._heard)

    def index(self, *entries: link_pb2.IndexEntry) -> None:
        envelope = link_pb2.Envelope(index=link_pb2.Index(repository="models", entries=entries))
        self._core.peers.heard(self._agent, envelope, memoryview(b""))

    def _heard(self, buffers: Iterable[bytes]) -> None:
        for envelope, _ in FrameReader().feed(b"".join(buffers)):
            wish = link_pb2.Control.FromString(envelope.control.SerializeToString())
            self.wishes.append(wish)
            status, message = self.act(wish)
            result = link_pb2.ControlResult(id=wish.id, status=status, message=message)
            answer = link_pb2.Envelope(control_result=result)
            asyncio.get_running_loop().call_soon(self._core.peers.heard, self._agent, answer, memoryview(b""))


class Outcome:
    """What a call was answered."""

    def __init__(self, message: bytes | None, error: DodonaError | None, metadata: Metadata) -> None:
        self.message = message
        self.error = error
        self.metadata = dict(metadata)


class FakeUnaryCall:
    def __init__(self, path: str, message: bytes = b"", metadata: Metadata = (), deadline: float | None = None) -> None:
        self.path = path
        self.message = message
        self.metadata = metadata
        self.deadline = deadline
        self.peer = "127.0.0.1:1"
        self.on_cancel: Callable[[], None] | None = None
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes, metadata: Metadata = ()) -> None:
        if not self.answer.done():
            self.answer.set_result(Outcome(message, None, metadata))

    def fail(self, error: DodonaError, metadata: Metadata = ()) -> None:
        if not self.answer.done():
            self.answer.set_result(Outcome(None, error, metadata))


class FakeStreamCall:
    """`push` messages, `half_close`, and read what was `sent`."""

    def __init__(self, path: str, metadata: Metadata = (), deadline: float | None = None) -> None:
        self.path = path
        self.metadata = metadata
        self.deadline = deadline
        self.peer = "127.0.0.1:1"
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.taken = 0
        self._incoming: asyncio.Queue[bytes | DodonaError | None] = asyncio.Queue()

    def push(self, *messages: bytes) -> None:
        for message in messages:
            self._incoming.put_nowait(message)

    def half_close(self) -> None:
        self._incoming.put_nowait(None)

    def break_off(self, error: DodonaError) -> None:
        """As a front does when the caller's next message is refused."""
        self._incoming.put_nowait(error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._incoming.get()) is not None:
            if isinstance(message, DodonaError):
                raise message
            self.taken += 1
            yield message

    async def send(self, message: bytes) -> None:
        self.sent.put_nowait(message)

    async def next(self) -> bytes:
        return await within(self.sent.get())


async def within(awaitable: Awaitable[T]) -> T:
    """The result, or TimeoutError after PATIENCE_S."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


async def call(core: Core, path: str, message: bytes = b"", metadata: Metadata = ()) -> bytes:
    """Call any method as a front does. Raises the DodonaError it was answered with."""
    method = methods(core)[path]
    if isinstance(method, Unary):
        unary = FakeUnaryCall(path, message, metadata)
        try:
            method.start(unary)
        except DodonaError as error:
            unary.fail(error)
        outcome = await within(unary.answer)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.message is not None
        return outcome.message
    assert isinstance(method, Stream)
    stream = FakeStreamCall(path, metadata)
    stream.push(message)
    stream.half_close()
    await within(method.run(stream))
    return await stream.next()
