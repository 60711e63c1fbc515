"""What sharing answers costs, and what it saves: one model, packed three times, asked with unique and equal inputs.

    python -m loadtests.sharing [--rounds 7] [--seconds 2] [--features 30] [--in-flight 32] [--json figures.json]

The models `off`, `collapse` and `kept` are the same echo; model.yaml alone differs. In every round each is asked in
turn with inputs that never come again, and `kept` also with one input; who comes first changes. The caller is a process
of its own on the bare protocol (one connection, so many calls in flight); what is counted is the CPU of router and
workers per request. Bounded; ends by itself.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hpack

from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from loadtests.processes import usage
from loadtests.soak_caller import header_fields
from protos import inference_pb2
from router.http2 import frames
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.log import configure

TERMS: Final = {"off": "", "collapse": "collapse: true\n", "kept": "response_cache: {enabled: true}\n"}
CASES: Final = (("off", True), ("collapse", True), ("kept", True), ("kept", False))
_PREFIX: Final = struct.Struct(">BI")


@dataclass(frozen=True)
class Load:
    model: str
    unique: bool
    features: int
    in_flight: int
    seconds: float


class _Caller(asyncio.Protocol):
    """Keeps so many calls open on one connection. Counts the answers; a status other than OK ends it."""

    def __init__(self, load: Load, origin: int) -> None:
        request = inference_pb2.ModelInferRequest(model_name=load.model)
        request.inputs.add(name="x", datatype="FP32", shape=[1, load.features])
        request.raw_input_contents.append(bytes(4 * load.features))
        self._template = request.SerializeToString()[:-8]
        encoder = hpack.Encoder()
        self._blocks = [encoder.encode(header_fields()) for _ in range(2)]
        """Of the first call, which fills the table, and of all that follow."""
        self._load = load
        self._number = origin
        self._stream = -1
        self._buffer = b""
        self._unread = 0
        self.answered = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        preface = frames.PREFACE + frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 2**31 - 1})
        transport.write(preface + b"".join([self._next() for _ in range(self._load.in_flight)]))

    def _next(self) -> bytes:
        self._stream += 2
        self._number += self._load.unique
        body = self._template + struct.pack("<Q", self._number)
        message = _PREFIX.pack(0, len(body)) + body
        heads = frames.header_frames(self._stream, self._blocks[self._stream > 1], 0, frames.DEFAULT_FRAME_BYTES)
        return heads + frames.head(frames.DATA, len(message), frames.END_STREAM, self._stream) + message

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        out = []
        self._unread += len(data)
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3])
            if len(buffer) - at < 9 + size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            at += 9 + size
            if kind == frames.SETTINGS and not flags & frames.ACK:
                out.append(frames.head(frames.SETTINGS, 0, frames.ACK, 0))
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                self.answered += 1
                if time.monotonic() < self.until:
                    out.append(self._next())
                elif not self.done.done():
                    self.done.set_result(None)
        self._buffer = buffer[at:]
        if self._unread > 30_000:
            out.append(frames.window_update(0, self._unread))
            self._unread = 0
        self._transport.write(b"".join(out))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))


async def _ask(address: str, load: Load, origin: int) -> int:
    host, _, port = address.rpartition(":")
    transport, caller = await asyncio.get_running_loop().create_connection(
        lambda: _Caller(load, origin), host, int(port)
    )
    caller.until = time.monotonic() + load.seconds
    await asyncio.wait_for(caller.done, load.seconds + 30)
    transport.close()
    return caller.answered


def _asking(address: str, load: Load, origin: int) -> int:
    return asyncio.run(_ask(address, load, origin))


@contextmanager
def cluster(folder: Path, features: int) -> Iterator[SyncCluster]:
    repository = folder / "models"
    for name, terms in TERMS.items():
        tensor = TensorDefinition(name="x", datatype="FP32", shape=(features,))
        pack(None, name=name, repository=repository, framework="echo", inputs=[tensor])
        definition = repository / name / "model.yaml"
        definition.write_text(definition.read_text() + terms)
    settings = {
        "repository": str(repository),
        "run_folder": str(folder / "run"),
        "log_file": str(folder / "dodona.log"),
        "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0},
    }
    with (folder / "dodona.log").open("a") as log:
        configure("agent", stream=log)
        with running(ClusterSettings.model_validate(settings)) as one:
            for version in one.ready(60.0):
                if version.state != "READY":
                    raise RuntimeError(f"{version.spec} is not ready: {version.reason}")
            yield one


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Case -> CPU microseconds a request, all and the router's, and requests a second, for each round."""
    figures: dict[str, list[dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1) as callers,
        cluster(Path(folder), options.features) as one,
    ):
        origin = 0
        for number in range(options.rounds + 1):
            for model, unique in [*CASES[number % 4 :], *CASES[: number % 4]]:
                load = Load(model, unique, options.features, options.in_flight, options.seconds)
                origin += 10**9 if unique else 0
                before, begin = usage(one.pids), time.monotonic()
                answered = callers.apply(_asking, (one.grpc_address, load, origin if unique else 7))
                took_s, after = time.monotonic() - begin, usage(one.pids)
                if number:  # the first round warms up
                    spent = {name: 1e6 * (after.cpu_s[name] - before.cpu_s[name]) / answered for name in after.cpu_s}
                    line = {"cpu_us": sum(spent.values()), "router_us": spent["router"], "per_s": answered / took_s}
                    figures.setdefault(f"{model}, {'unique' if unique else 'equal'} inputs", []).append(line)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options)
    alone = figures["off, unique inputs"]
    for case, rounds in figures.items():
        middle = {name: statistics.median([line[name] for line in rounds]) for name in rounds[0]}
        ratios = [line["cpu_us"] / other["cpu_us"] for line, other in zip(rounds, alone, strict=True)]
        print(
            f"{case:26} {middle['cpu_us']:6.1f} us CPU a request (router {middle['router_us']:5.1f}),"
            f" {middle['per_s']:6.0f}/s, {statistics.median(ratios):.3f} of off"
            f" ({min(ratios):.3f} to {max(ratios):.3f})"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
