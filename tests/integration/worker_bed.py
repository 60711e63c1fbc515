"""A real worker process between a parent's pipes and a router's end of the link."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from protos import inference_pb2, link_pb2
from serving.link.framing import FrameReader, cut, encode
from serving.worker.settings import WorkerModel

TIMEOUT_S = 30.0


class RouterEnd:
    """Welcomes workers, keeps what they say, sends work. `answers` maps an id to a response or a Failure."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix:{path}"
        self.hellos: list[link_pb2.Hello] = []
        self.models: dict[str, link_pb2.Model] = {}
        self.windows: dict[int, int] = {}
        self.answers: dict[int, inference_pb2.ModelInferResponse | link_pb2.Failure] = {}
        self.order: list[str] = []
        self.draining = False
        self._path = path
        self._news = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._next_id = 0

    async def __aenter__(self) -> "RouterEnd":
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()
        self._server.close()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns once it holds; asked after every frame."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(condition), TIMEOUT_S)

    def send(self, envelope: link_pb2.Envelope, payloads: Sequence[bytes] = ()) -> None:
        assert self._writer is not None
        self._writer.writelines(encode(envelope, payloads))

    def work(self, *messages: bytes, model: str = "", handle: int = 0, timeout_s: float = 30.0) -> list[int]:
        """One Work frame; returns the ids."""
        ids = [self._next_id + index for index in range(len(messages))]
        self._next_id += len(messages)
        work = link_pb2.Work(
            ids=ids,
            handles=[handle or self.models[model].handle] * len(ids),
            rows=[1] * len(ids),
            sizes=[len(message) for message in messages],
            timeout_us=[int(timeout_s * 1e6)] * len(ids),
            priorities=[0] * len(ids),
            request_ids=[f"r{number}" for number in ids],
        )
        self.send(link_pb2.Envelope(work=work), messages)
        return ids

    async def ask(self, *messages: bytes, model: str) -> list[Any]:
        """Send work and wait for its answers."""
        ids = self.work(*messages, model=model)
        await self.until(lambda: all(number in self.answers for number in ids))
        return [self.answers[number] for number in ids]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        self._writer = writer
        try:
            while received := await reader.read(65536):
                for envelope, payload in frames.feed(received):
                    async with self._news:
                        self._frame(envelope, payload)
                        self._news.notify_all()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _frame(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        kind = envelope.WhichOneof("frame") or ""
        self.order.append(kind)
        if kind == "hello":
            self.hellos.append(envelope.hello)
            welcome = link_pb2.Welcome(protocol_version=1, router="bed", max_frame_bytes=2**26)
            self.send(link_pb2.Envelope(welcome=welcome))
        elif kind == "models":
            self.models = {model.name: model for model in envelope.models.models}
        elif kind == "credit":
            self.windows[envelope.credit.handle] = envelope.credit.window_rows
        elif kind == "draining":
            self.draining = True
        elif kind == "results":
            self._results(envelope.results, payload)

    def _results(self, results: link_pb2.Results, payload: memoryview) -> None:
        failures = {failure.index: failure for failure in results.failures}
        for index, (number, part) in enumerate(zip(results.ids, cut(payload, results.sizes), strict=True)):
            assert number not in self.answers, f"{number} was answered twice"
            failure = failures.get(index)
            self.answers[number] = failure or inference_pb2.ModelInferResponse.FromString(part)


class Worker:
    """The process, its status lines and its command pipe."""

    def __init__(self, process: asyncio.subprocess.Process, status: asyncio.StreamReader) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._status = status

    async def until(self, event: str, name: str = "") -> dict[str, Any]:
        """The next status line of that kind; those before it are kept in `events`."""
        while True:
            line = await asyncio.wait_for(self._status.readline(), TIMEOUT_S)
            assert line, f"no {event} before the end: {self.events}"
            said = json.loads(line)
            self.events.append(said)
            if said["event"] == event and said.get("name", "") in ("", name):
                return said

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    def leave(self) -> None:
        """What a dying parent does."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), TIMEOUT_S)


@asynccontextmanager
async def worker(
    folder: Path, routers: Sequence[str], models: Sequence[WorkerModel], framework: str, **settings: Any
) -> AsyncIterator[Worker]:
    """Start it; whatever happens it is gone afterwards."""
    path = folder / "worker.json"
    values = {"name": "w1", "framework": framework, "routers": list(routers), "log_level": "error", **settings}
    path.write_text(json.dumps(values | {"models": [model.model_dump() for model in models]}))
    reading, writing = os.pipe()
    status = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(status), os.fdopen(reading, "rb", buffering=0)
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "serving.worker", "--settings", str(path), "--status-fd", str(writing)),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=(writing,),
    )
    os.close(writing)
    try:
        yield Worker(process, status)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()
        transport.close()


def values_of(response: inference_pb2.ModelInferResponse, output: int = 0, dtype: Any = np.float32) -> Any:
    return np.frombuffer(response.raw_output_contents[output], dtype)
