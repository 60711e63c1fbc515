"""A real router core behind the REST edge, a worker that the test plays, and requests without a socket."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import orjson

from protos import inference_pb2, link_pb2, model_config_pb2
from router.compose import compose
from router.core import Core
from router.edge.rest.app import rest_app
from router.front.http1 import Http1Connection
from router.front.rest import RestFront
from router.link.peers import Agent
from router.replica import Replica
from router.settings import RouterSettings, Tls
from serving.errors import DodonaError
from serving.link.framing import FrameReader, cut
from serving.status import Status
from serving.tensors import Array, from_raw, to_raw

T = TypeVar("T")

PATIENCE_S = 10.0
"""Bound of every wait in these tests; nothing takes that long unless it hangs."""


async def within(awaitable: Awaitable[T]) -> T:
    """The result, or TimeoutError after PATIENCE_S."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


def tensor(name: str, datatype: str, *shape: int, columns: Iterable[str] = ()) -> link_pb2.TensorSpec:
    return link_pb2.TensorSpec(name=name, datatype=datatype, shape=shape, columns=columns)


def model(
    name: str,
    inputs: Iterable[link_pb2.TensorSpec],
    outputs: Iterable[link_pb2.TensorSpec] | None = None,
    *,
    handle: int = 1,
    version: str = "1",
    batched: bool = True,
    labels: dict[str, str] | None = None,
) -> link_pb2.Model:
    """What a worker announces. Without `outputs` the worker gives the inputs back."""
    inputs = list(inputs)
    config = model_config_pb2.ModelConfig(name=name, platform="onnxruntime_onnx", max_batch_size=64)
    for one in inputs:
        config.input.add(name=one.name, data_type="TYPE_FP32", dims=one.shape)
    return link_pb2.Model(
        handle=handle,
        name=name,
        version=version,
        framework="onnx",
        batched=batched,
        max_batch_rows=64,
        inputs=inputs,
        outputs=inputs if outputs is None else outputs,
        labels=labels or {},
        config=config.SerializeToString(),
    )


class Job:
    """One request as the worker got it; the test answers it."""

    def __init__(self, worker: "FakeWorker", number: int, handle: int, message: bytes) -> None:
        self.number = number
        self.handle = handle
        self.message = message
        self.request = inference_pb2.ModelInferRequest.FromString(message)
        self._worker = worker

    def array(self, index: int = 0) -> Array:
        """The input at `index`, checked against its shape."""
        head = self.request.inputs[index]
        return from_raw(self.request.raw_input_contents[index], head.datatype, head.shape, head.name)

    def echo(self) -> None:
        """Give back the inputs as outputs, or those of them that were asked for."""
        wanted = {output.name for output in self.request.outputs}
        response = self._response()
        for head, raw in zip(self.request.inputs, self.request.raw_input_contents, strict=True):
            if not wanted or head.name in wanted:
                response.outputs.add(name=head.name, datatype=head.datatype, shape=head.shape)
                response.raw_output_contents.append(raw)
        self._give(response)

    def reply(self, **outputs: tuple[str, Any]) -> None:
        """`name=(datatype, array-like)`."""
        response = self._response()
        for name, (datatype, values) in outputs.items():
            array = np.asarray(values)
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            response.raw_output_contents.append(to_raw(array))
        self._give(response)

    def reply_raw(self, response: inference_pb2.ModelInferResponse) -> None:
        self._give(response)

    def fail(self, error: DodonaError) -> None:
        failure = link_pb2.Failure(
            index=0, status=error.status, message=error.message, field=error.field, retry_after_s=error.retry_after_s
        )
        results = link_pb2.Results(handle=self.handle, ids=[self.number], sizes=[0], queue_us=[0], failures=[failure])
        self._worker.say(link_pb2.Envelope(results=results))

    def _response(self) -> inference_pb2.ModelInferResponse:
        spec = self._worker.specs[self.handle]
        return inference_pb2.ModelInferResponse(model_name=spec[0], model_version=spec[1], id=self.request.id)

    def _give(self, response: inference_pb2.ModelInferResponse) -> None:
        payload = response.SerializeToString()
        results = link_pb2.Results(handle=self.handle, ids=[self.number], sizes=[len(payload)], queue_us=[1], rows=1)
        self._worker.say(link_pb2.Envelope(results=results), payload)


class FakeWorker:
    """Joined to the core without a socket. `on_job` answers (echo by default); where it is None, jobs wait."""

    def __init__(self, core: Core, *models: link_pb2.Model, on_job: Callable[[Job], None] | None = Job.echo) -> None:
        self.jobs: asyncio.Queue[Job] = asyncio.Queue()
        self.last: Job | None = None
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self.on_job = on_job
        self.specs = {one.handle: (one.name, one.version) for one in models}
        self._core = core
        self._reader = FrameReader()
        loop = asyncio.get_running_loop()
        hello = link_pb2.Hello(name="worker", role=link_pb2.ROLE_WORKER, framework="onnx")
        self._replica = Replica(hello, write=self._heard, soon=loop.call_soon, clock=core.clock)
        core.peers.joined(self._replica, self._heard)
        self.announce(*models)

    def announce(self, *models: link_pb2.Model) -> None:
        """The whole set that it serves from now on."""
        self.say(link_pb2.Envelope(models=link_pb2.Models(models=models)))
        for one in models:
            self.say(link_pb2.Envelope(credit=link_pb2.Credit(handle=one.handle, window_rows=10_000)))

    def say(self, envelope: link_pb2.Envelope, payload: bytes = b"") -> None:
        self._core.peers.heard(self._replica, envelope, memoryview(payload))

    def leave(self) -> None:
        self._core.peers.left(self._replica)

    async def job(self) -> Job:
        return await within(self.jobs.get())

    def _heard(self, buffers: Iterable[bytes]) -> None:
        for envelope, payload in self._reader.feed(b"".join(buffers)):
            for number in envelope.cancel.ids:
                self.cancelled.put_nowait(number)
            work = envelope.work
            if not work.ids:
                continue
            pieces = cut(payload, work.sizes)
            for number, handle, piece in zip(work.ids, work.handles, pieces, strict=True):
                self.last = Job(self, number, handle, bytes(piece))
                if self.on_job is None:
                    self.jobs.put_nowait(self.last)
                else:
                    asyncio.get_running_loop().call_soon(self.on_job, self.last)


class FakeAgent:
    """Settles every wish with `status` and `message`, and keeps it in `wishes`."""

    def __init__(self, core: Core, status: Status = Status.OK, message: str = "") -> None:
        self.wishes: list[link_pb2.Control] = []
        self.status = status
        self.message = message
        self._core = core
        self._agent = Agent(link_pb2.Hello(name="agent", role=link_pb2.ROLE_AGENT), core.clock())
        core.peers.joined(self._agent, self._heard)

    def settle(self, wish: link_pb2.Control) -> tuple[Status, str]:
        return self.status, self.message

    def index(self, *entries: link_pb2.IndexEntry) -> None:
        envelope = link_pb2.Envelope(index=link_pb2.Index(repository="models", entries=entries))
        self._core.peers.heard(self._agent, envelope, memoryview(b""))

    def _heard(self, buffers: Iterable[bytes]) -> None:
        for envelope, _ in FrameReader().feed(b"".join(buffers)):
            wish = link_pb2.Control.FromString(envelope.control.SerializeToString())
            self.wishes.append(wish)
            status, message = self.settle(wish)
            result = link_pb2.ControlResult(id=wish.id, status=status, message=message)
            answer = link_pb2.Envelope(control_result=result)
            asyncio.get_running_loop().call_soon(self._core.peers.heard, self._agent, answer, memoryview(b""))


def make_core(settings: RouterSettings | None = None) -> Core:
    """A core without listeners, on the running loop's clock; it counts as listening."""
    loop = asyncio.get_running_loop()
    core = compose(settings or RouterSettings(), clock=loop.time, call_at=loop.call_at)
    core.listeners["grpc"] = "127.0.0.1:8001"
    return core


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])

    def binary(self) -> tuple[Any, bytes]:
        """The JSON part and the tensors behind it."""
        size = int(self.headers["inference-header-content-length"])
        return orjson.loads(self.body[:size]), self.body[size:]


class Pipe(asyncio.Transport):
    """What the listener writes, kept; no socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


class Caller:
    """Calls the REST edge through the listener's own connection, but without a socket: one for each request. `leave()`
    makes every request in progress see a disconnect."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._front = RestFront(rest_app(core), "", 0, core.settings.limits, Tls())
        self._front.loop = asyncio.get_running_loop()
        self._open: set[Http1Connection] = set()

    def leave(self) -> None:
        for connection in list(self._open):
            connection.connection_lost(None)
        self._open.clear()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, **headers)

    async def post(self, path: str, document: object = None, **headers: str) -> Answer:
        """`document` is sent as JSON, bytes as they are."""
        body = document if isinstance(document, bytes) else b"" if document is None else orjson.dumps(document)
        return await self.send("POST", path, body, **headers)

    async def send(self, method: str, path: str, *pieces: bytes, **headers: str) -> Answer:
        """`pieces` of the body, chunked if there are several; header names with _ for -. Raises ConnectionError where
        the connection ends without an answer."""
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        body = b"".join(pieces)
        if len(pieces) > 1:
            lines.append("transfer-encoding: chunked")
            body = b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]) + b"0\r\n\r\n"
        elif "content_length" not in headers:
            lines.append(f"content-length: {len(body)}")
        pipe = Pipe()
        connection = Http1Connection(self._front)
        self._open.add(connection)
        connection.connection_made(pipe)
        connection.data_received("\r\n".join([*lines, "", ""]).encode() + body)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not pipe.written:
                    if connection not in self._open:
                        raise ConnectionError("the caller has left")
                    await asyncio.sleep(0)
        finally:
            if connection in self._open:
                self._open.remove(connection)
                connection.connection_lost(None)
        return answer_of(bytes(pipe.written))


def answer_of(written: bytes) -> Answer:
    head, _, body = written.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split(" ")[1]), headers, body)
