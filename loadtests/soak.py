"""Many requests, each unlike all others, every answer checked; and the cluster's memory and files watched meanwhile.

    python -m loadtests.soak --requests 10000000 [--front grpcio] [--callers 2] [--json figures.json]

One router and one worker with the echo model. Caller processes send unique tensors on several connections with many
calls in flight each; a share goes through gRPC's own client. Beside them misfits cancel, disconnect, send slowly,
reset rapidly and read nothing. Connections are asked to go after `--age` seconds, so that clients move while they
work. Prints progress; exit 1 if an answer was wrong, missing or given twice, if a call failed, or if the memory or the
open files of the router or the worker grow.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from ctypes import c_longlong
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import grpc.aio
import numpy as np
import psutil

from dodona.cluster import running
from dodona.config import ClusterSettings
from loadtests.soak_caller import MODEL, PATH, Call, Caller, Questions
from loadtests.soak_misfits import misbehave
from protos import inference_pb2
from serving import loop
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack

CONNECTIONS: Final = 4
STREAMS: Final = 16
REFERENCE_SHARE: Final = 0.01  # of the requests, through gRPC's own client
SAMPLE_S: Final = 1.0
STALL_S: Final = 60.0
MOST_GROWTH: Final = 0.05
"""Of resident memory, from the first third of the run to its end, extrapolated from the trend."""
SLACK_BYTES: Final = 6 * 1024 * 1024

Tally = Any  # a shared array of the figures below
DONE, FAULTS, AGAIN, ACTS = range(4)


class Asker:
    """One caller process: its share of the requests over connections that come and go."""

    def __init__(self, address: str, origin: int, requests: int, tally: Tally, complaints: Any, front: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._questions = Questions(origin)
        self._left = requests
        self._tally = tally
        self._complaints = complaints
        self._waiting: deque[Call] = deque()
        self._steady = front == "http2"

    def ask(self) -> Call | None:
        if self._waiting:
            return self._waiting.popleft()
        if not self._left:
            return None
        self._left -= 1
        return Call(*self._questions.next())

    def again(self, call: Call) -> None:
        self._tally[AGAIN] += 1
        self._waiting.append(call)

    def report(self, call: Call, fault: str) -> None:
        self._tally[DONE] += 1
        if fault:
            self._tally[FAULTS] += 1
            if self._tally[FAULTS] <= 20:
                self._complaints.put(f"{call.name.decode()}: {fault}")

    async def run(self) -> None:
        await asyncio.gather(*(self._connect() for _ in range(CONNECTIONS)))

    async def _connect(self) -> None:
        event_loop = asyncio.get_running_loop()
        while self._left or self._waiting:
            caller = Caller(STREAMS, self.ask, self.report, self.again, steady_blocks=self._steady)
            await event_loop.create_connection(lambda made=caller: made, self._host, self._port)  # type: ignore[misc]
            while not caller.closed.is_set():
                try:
                    await asyncio.wait_for(caller.closed.wait(), 5.0)
                except TimeoutError:
                    if late := list(caller.overdue(time.monotonic())):
                        raise AssertionError(
                            f"{len(late)} calls are not answered, the first is {late[0].name!r}"
                        ) from None


async def through_grpcio(address: str, origin: int, requests: int, tally: Tally, complaints: Any) -> None:
    """The reference client, eight calls at a time."""
    questions = Questions(origin)
    left = iter(range(requests))

    async def caller(method: Any) -> None:
        for _ in left:
            message, name, tensor = questions.next()
            reply = inference_pb2.ModelInferResponse.FromString(await method(message[5:], timeout=60))
            tally[DONE] += 1
            if (reply.id.encode(), list(reply.raw_output_contents)) != (name, [tensor]):
                tally[FAULTS] += 1
                complaints.put(f"grpcio: asked {name!r}, answered {reply.id}")

    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.gather(*(caller(channel.unary_unary(PATH)) for _ in range(8)))


def in_process(kind: str, address: str, origin: int, requests: int, tally: Tally, complaints: Any, front: str) -> None:
    """What a child process does."""

    async def main() -> None:
        if kind == "caller":
            await Asker(address, origin, requests, tally, complaints, front).run()
        elif kind == "grpcio":
            await through_grpcio(address, origin, requests, tally, complaints)
        else:
            host, _, port = address.rpartition(":")

            def acted() -> None:
                tally[ACTS] += 1

            await asyncio.gather(*(misbehave(host, int(port), number, acted) for number in range(6)))

    try:
        loop.run(main())
    except Exception as error:
        tally[FAULTS] += 1
        complaints.put(f"{kind} ended: {type(error).__name__}: {error}")
        raise


@dataclass
class Watch:
    """Resident memory and open files of one process of the cluster, with the requests done at that moment."""

    process: psutil.Process
    done: list[int] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def sample(self, done: int) -> None:
        self.done.append(done)
        self.rss.append(self.process.memory_info().rss)
        self.files.append(self.process.num_fds())

    def growth(self, values: list[int]) -> float:
        """What the trend of the last two thirds of the run adds over them."""
        start = len(values) // 3
        if len(values) - start < 3:
            return 0.0
        slope = float(np.polyfit(np.array(self.done[start:], float), np.array(values[start:], float), 1)[0])
        return slope * (self.done[-1] - self.done[start])

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


def soak(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """The figures; `faults` is what went wrong, in words."""
    inputs = (TensorDefinition(name="x", datatype="FP32", shape=(16,), columns=tuple(f"c{n}" for n in range(16))),)
    pack(None, framework="echo", name=MODEL, repository=work / "models", inputs=inputs)
    age = {"max_connection_age_s": options.age}
    settings = ClusterSettings.model_validate(
        {
            "repository": str(work / "models"),
            "run_folder": str(work / "run"),
            "log_file": str(work / "dodona.log"),
            "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "front": options.front, "limits": age},
        }
    )
    with ExitStack() as stack:
        cluster = stack.enter_context(running(settings))
        cluster.ready(60)
        watches = {name: Watch(psutil.Process(pid)) for name, pid in cluster.pids.items()}
        files_before = {name: watch.process.num_fds() for name, watch in watches.items()}
        cpu_before = {name: watch.cpu_s() for name, watch in watches.items()}
        tallies, complaints, elapsed_s = drive(cluster.grpc_address, options, watches)
        total = [sum(tally[figure] for tally in tallies) for figure in range(4)]
        cpu = {name: (watch.cpu_s() - cpu_before[name]) / max(total[DONE], 1) * 1e6 for name, watch in watches.items()}
        files_after = _settled_files(watches, files_before)
    faults = list(complaints)
    if total[DONE] != options.requests:
        faults.append(f"{options.requests - total[DONE]} requests were not answered")
    report: dict[str, Any] = {"requests": total[DONE], "wrong_or_failed": total[FAULTS], "sent_again": total[AGAIN]}
    report |= {"acts_of_misfits": total[ACTS], "seconds": round(elapsed_s, 1), "front": options.front}
    for name, watch in watches.items():
        growth = watch.growth(watch.rss)
        report[name] = {
            "cpu_us_per_request": round(cpu[name], 1),
            "rss_mb": [round(value / 1e6, 1) for value in (watch.rss[0], max(watch.rss), watch.rss[-1])],
            "rss_trend_mb": round(growth / 1e6, 2),
            "rss_slope_bytes_per_1000_requests": round(growth / max(watch.done[-1] * 2 / 3, 1) * 1000),
            "files_before_most_after": [files_before[name], max(watch.files), files_after[name]],
        }
        if growth > MOST_GROWTH * watch.rss[-1] + SLACK_BYTES:
            faults.append(f"memory of {name} grows by {growth / 1e6:.1f} MB over two thirds of the run")
        if files_after[name] > files_before[name] + 2:
            faults.append(f"{name} holds {files_after[name] - files_before[name]} open files more than before")
    report["faults"] = faults
    return report


def drive(address: str, options: argparse.Namespace, watches: dict[str, Watch]) -> tuple[list[Tally], list[str], float]:
    """Run callers and misfits until all requests are done, or nothing moves any more."""
    context = multiprocessing.get_context("spawn")  # a forked grpc would be unusable
    complaints = context.Queue()
    reference = round(options.requests * REFERENCE_SHARE)
    shares = [(options.requests - reference) // options.callers] * options.callers
    shares[0] += options.requests - reference - sum(shares)
    plan = [("misfits", 0), ("grpcio", reference), *(("caller", share) for share in shares)]
    tallies, children, heard = [], [], []
    began = time.monotonic()
    for number, (kind, share) in enumerate(plan):
        tally = context.Array(c_longlong, 4, lock=False)
        arguments = (kind, address, number << 40, share, tally, complaints, options.front)
        child = context.Process(target=in_process, args=arguments, daemon=True)
        child.start()
        tallies.append(tally)
        children.append(child)
    moved_at, done_before, told_at = began, 0, began
    while any(child.is_alive() for child in children[1:]):
        time.sleep(SAMPLE_S)
        now, done = time.monotonic(), sum(tally[DONE] for tally in tallies)
        for watch in watches.values():
            watch.sample(done)
        if done > done_before:
            moved_at, done_before = now, done
        if now - told_at > 10 or done == options.requests:
            told_at = now
            _tell(done, options.requests, now - began, tallies, watches)
        while not complaints.empty():
            heard.append(complaints.get())
            print(f"FAULT {heard[-1]}", flush=True)
        if now - moved_at > STALL_S or len(heard) > 100:
            heard.append(f"nothing was answered for {now - moved_at:.0f} s")
            break
    _end(children)
    return tallies, heard, time.monotonic() - began


def _tell(done: int, requests: int, elapsed_s: float, tallies: list[Tally], watches: dict[str, Watch]) -> None:
    memory = ", ".join(
        f"{name} {watch.rss[-1] / 1e6:.0f} MB {watch.files[-1]} files" for name, watch in watches.items()
    )
    acts = sum(tally[ACTS] for tally in tallies)
    print(f"{done} of {requests}, {done / elapsed_s:.0f} a second, {acts} acts of misfits; {memory}", flush=True)


def _end(children: list[BaseProcess]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.join(10)


def _settled_files(watches: dict[str, Watch], before: dict[str, int]) -> dict[str, int]:
    """Open files once the callers have gone; the cluster gets a little time to notice."""
    deadline = time.monotonic() + 10
    while True:
        after = {name: watch.process.num_fds() for name, watch in watches.items()}
        if time.monotonic() > deadline or all(after[name] <= before[name] for name in after):
            return after
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500_000)
    parser.add_argument("--front", choices=("http2", "grpcio"), default="http2")
    parser.add_argument("--callers", type=int, default=2, help="caller processes, four connections each")
    parser.add_argument("--age", type=float, default=10.0, help="router.limits.max_connection_age_s")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        report = soak(options, Path(folder))
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return int(bool(report["faults"] or report["wrong_or_failed"]))


if __name__ == "__main__":
    sys.exit(main())
