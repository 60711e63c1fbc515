"""The known attacks on HTTP/2 servers against a running cluster, while a well-behaved caller goes on calling.

    python -m loadtests.attacks [--front grpcio] [--seconds 3] [--only "rapid reset"] [--json figures.json]

One attack after the other, each from a few connections of a process of its own, which dials again whenever it is cut
off. The caller is gRPC's own, four calls at a time, every answer checked. Prints for each attack how often and how its
connections were ended, and the caller's p50 and p99 just before and during the attack; exit 1 if a call of the caller
failed or was answered wrongly. The attacker shares the cores with the cluster, so read the ratios with that in mind.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import grpc.aio
import numpy as np

from dodona.cluster import running
from dodona.config import ClusterSettings
from loadtests.attack_kinds import ATTACKS, Attack, Speaker
from loadtests.soak_caller import MODEL, PATH, Questions
from protos import inference_pb2
from router.http2 import frames
from serving import loop
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack

Method = Callable[..., Awaitable[bytes]]

_CALLERS: Final = 4
_PAUSE_S: Final = 0.01
"""Between two pieces of an attack: to show what the server does, not who has more processor."""
_LEAST_CALLS: Final = 12
_ANSWER_WITHIN_S: Final = 30.0


class Assailant(asyncio.Protocol):
    """One connection of an attack; `ended` says how it came to its end."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._received = b""
        self._room = asyncio.Event()
        self._room.set()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if not self._attack.listens:
            self._transport.pause_reading()
        self._transport.write(frames.PREFACE + frames.settings({}))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Only looks for a GOAWAY."""
        received = self._received + data
        start = 0
        while len(received) - start >= frames.HEAD_BYTES:
            word, _, _ = frames.HEAD.unpack_from(received, start)
            stop = start + frames.HEAD_BYTES + (word >> 8)
            if stop > len(received):
                break
            if word & 0xFF == frames.GOAWAY:
                self._end(f"GOAWAY {int.from_bytes(received[start + 13 : start + 17], 'big')}")
            start = stop
        self._received = received[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("reset" if exc else "closed")

    def _end(self, how: str) -> None:
        if not self.ended.done():
            self.ended.set_result(how)
        self._room.set()

    async def attack(self, speaker: Speaker) -> str:
        """Until it is cut off: how."""
        for piece in self._attack.say(speaker):
            await self._room.wait()
            if self.ended.done():
                break
            self._transport.write(piece)
            await asyncio.sleep(_PAUSE_S)
        return await self.ended


async def assail(attack: Attack, host: str, port: int, stopped: Awaitable[object]) -> Counter[str]:
    """How the connections of an attack ended before it was stopped; "stood" are those that did not."""
    ends: Counter[str] = Counter()

    async def keep_on(number: int) -> None:
        event_loop = asyncio.get_running_loop()
        transport = None
        try:
            while True:
                made = Assailant(attack)
                transport, _ = await event_loop.create_connection(lambda made=made: made, host, port)  # type: ignore[misc]
                ends[await made.attack(Speaker(2**62 + (number << 32)))] += 1
                transport.abort()
                await asyncio.sleep(_PAUSE_S)
        except asyncio.CancelledError:
            ends["stood"] += 1
            raise
        except OSError:
            ends["not let in"] += 1
        finally:
            if transport is not None:
                transport.abort()

    tasks = [asyncio.create_task(keep_on(number)) for number in range(attack.connections)]
    await stopped
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ends


def in_process(address: str, orders: Connection) -> None:
    """The attacker's process: in comes the index of an attack, later a word to stop; out go "begun" and the ends."""
    host, _, port = address.rpartition(":")

    async def attack(index: int) -> None:
        orders.send("begun")
        orders.send(dict(await assail(ATTACKS[index], host, int(port), asyncio.to_thread(orders.recv))))

    while (index := orders.recv()) is not None:
        loop.run(attack(index))


@dataclass
class Fair:
    """The caller who does everything right: latencies in seconds, and what went wrong."""

    latencies_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def watched(self, seconds: float) -> list[float]:
        """The latencies of so long from now, longer where there are too few of them to judge by."""
        self.latencies_s = []
        give_up_at = time.monotonic() + _ANSWER_WITHIN_S
        await asyncio.sleep(seconds)
        while len(self.latencies_s) < _LEAST_CALLS and time.monotonic() < give_up_at:
            await asyncio.sleep(_PAUSE_S)
        return self.latencies_s

    async def call(self, address: str, stop: asyncio.Event) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            method = channel.unary_unary(PATH)
            await asyncio.gather(*(self._one(method, number, stop) for number in range(_CALLERS)))

    async def _one(self, method: Method, number: int, stop: asyncio.Event) -> None:
        questions = Questions(number << 40)
        while not stop.is_set():
            message, name, tensor = questions.next()
            begun = time.perf_counter()
            try:
                answer = await method(message[5:], timeout=_ANSWER_WITHIN_S)
            except grpc.aio.AioRpcError as error:
                self.faults.append(f"{error.code().name}: {error.details()}")
                continue
            self.latencies_s.append(time.perf_counter() - begun)
            reply = inference_pb2.ModelInferResponse.FromString(answer)
            if (reply.id.encode(), list(reply.raw_output_contents)) != (name, [tensor]):
                self.faults.append(f"asked {name!r}, answered {reply.id}")
            await asyncio.sleep(_PAUSE_S)


@dataclass(frozen=True)
class Result:
    attack: str
    ends: dict[str, int]
    quiet_ms: tuple[float, float]
    """p50 and p99 just before."""
    during_ms: tuple[float, float]
    calls: int
    faults: list[str]


def _quantiles(latencies_s: Sequence[float]) -> tuple[float, float]:
    if not latencies_s:
        return (float("inf"), float("inf"))
    p50, p99 = np.percentile(np.array(latencies_s) * 1e3, [50, 99])
    return round(float(p50), 2), round(float(p99), 2)


async def withstand(address: str, attacks: Sequence[Attack], seconds: float) -> list[Result]:
    """Attack after attack on a server that has the soak's model."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=in_process, args=(address, theirs), daemon=True)
    child.start()
    fair, stop = Fair(), asyncio.Event()
    calling = asyncio.create_task(fair.call(address, stop))
    results = []
    try:
        for attack in attacks:
            known = len(fair.faults)
            quiet = await fair.watched(seconds / 2)
            ours.send(ATTACKS.index(attack))
            await asyncio.to_thread(ours.recv)
            during = await fair.watched(seconds)
            ours.send("stop")
            ends = await asyncio.to_thread(ours.recv)
            results.append(
                Result(attack.name, ends, _quantiles(quiet), _quantiles(during), len(during), fair.faults[known:])
            )
    finally:
        stop.set()
        ours.send(None)
        await asyncio.gather(calling, asyncio.to_thread(child.join, 10))
        if child.is_alive():
            child.kill()
    return results


def cluster_settings(work: Path, front: str) -> ClusterSettings:
    """A cluster with the soak's model; everything on free ports."""
    inputs = (TensorDefinition(name="x", datatype="FP32", shape=(16,), columns=tuple(f"c{n}" for n in range(16))),)
    pack(None, framework="echo", name=MODEL, repository=work / "models", inputs=inputs)
    return ClusterSettings.model_validate(
        {
            "repository": str(work / "models"),
            "run_folder": str(work / "run"),
            "log_file": str(work / "dodona.log"),
            "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "front": front},
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--front", choices=("http2", "grpcio"), default="http2")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each attack, half of it for the quiet before")
    parser.add_argument("--only", choices=[attack.name for attack in ATTACKS])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    attacks = [attack for attack in ATTACKS if options.only in (None, attack.name)]
    with (
        tempfile.TemporaryDirectory(prefix="attacks-") as folder,
        running(cluster_settings(Path(folder), options.front)) as cluster,
    ):
        cluster.ready(60)
        results = asyncio.run(withstand(cluster.grpc_address, attacks, options.seconds))
    print("| attack | its connections | p50 ms: before, during | p99 ms: before, during | calls, failed |")
    print("|---|---|---|---|---|")
    for one in results:
        ends = ", ".join(f"{count} {how}" for how, count in sorted(one.ends.items()))
        p50, p99 = zip(one.quiet_ms, one.during_ms, strict=True)
        print(f"| {one.attack} | {ends} | {p50[0]}, {p50[1]} | {p99[0]}, {p99[1]} | {one.calls}, {len(one.faults)} |")
    faults = [f"{one.attack}: {fault}" for one in results for fault in one.faults]
    print(*sorted(set(faults)), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
