"""Open-loop load: requests are sent when they are due, whether or not earlier ones have been answered.

    python -m loadtests.openloop --address localhost:8001 --model wine --rows 1 --features 13 --rate 500 --seconds 10

Arrivals are a Poisson process with a seed. The latency of a request counts from when it was meant to be sent, so a
generator or a server that falls behind cannot hide it ("coordinated omission"). A closed loop (h2load, perf_analyzer)
slows down with the server and so never shows what happens when there is too much work. Bounded by `--seconds` and by
`max_open` requests without an answer; what could not be sent for that bound is counted as `unsent`.

gRPC's asyncio client, about 150 us of CPU a request: enough for a few thousand a second. The figures say how late the
generator was itself.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import grpc
import numpy as np

from protos import inference_pb2

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_LEAST_SLEEP_S = 0.0005


@dataclass(frozen=True)
class Load:
    body: bytes
    rate: float
    """Requests a second on average."""
    seconds: float
    timeout_s: float
    metadata: tuple[tuple[str, str], ...] = ()
    seed: int = 1
    max_open: int = 5000


@dataclass
class Outcome:
    """`latencies_s` of what was answered with OK, from the intended send time, unsorted. Warm-up is not in it."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    send_lags_s: list[float] = field(default_factory=list)
    retry_ms: list[int] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Answers in time, a second."""
        return len(self.latencies_s) / self.seconds

    @property
    def sent(self) -> int:
        return sum(self.statuses.values())

    def quantile_s(self, share: float) -> float:
        return quantile(self.latencies_s, share)


def quantile(values: Sequence[float], share: float) -> float:
    """NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which to send."""
    random, at = Random(seed), 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        yield at


async def open_loop(address: str, load: Load, *, warm_up_s: float = 1.0) -> Outcome:
    """Send the load, wait for its last answer. What was due in the first `warm_up_s` is sent, but not counted."""
    outcome = Outcome(seconds=load.seconds - warm_up_s)
    open_calls: set[asyncio.Task[None]] = set()
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(METHOD)
        await channel.channel_ready()
        begin = time.monotonic()
        for offset in arrivals(load.rate, load.seconds, load.seed):
            due = begin + offset
            wait_s = due - time.monotonic()
            if wait_s > _LEAST_SLEEP_S:
                await asyncio.sleep(wait_s)
            counted = outcome if offset >= warm_up_s else None
            if len(open_calls) >= load.max_open:
                if counted is not None:
                    counted.statuses["unsent"] += 1
                continue
            task = asyncio.create_task(_one(call, load, due, counted))
            open_calls.add(task)
            task.add_done_callback(open_calls.discard)
        if open_calls:
            await asyncio.wait(open_calls, timeout=load.timeout_s + 5)
    return outcome


async def _one(call: grpc.aio.UnaryUnaryMultiCallable, load: Load, due: float, outcome: Outcome | None) -> None:
    lag_s = time.monotonic() - due
    retry_ms: list[int] = []
    try:
        await call(load.body, timeout=load.timeout_s, metadata=load.metadata)
        status = "OK"
    except grpc.aio.AioRpcError as error:
        status = error.code().name
        retry_ms = [int(value) for name, value in error.trailing_metadata() or () if name == "retry-after-ms"]
    if outcome is None:
        return
    took_s = time.monotonic() - due
    outcome.statuses[status] += 1
    outcome.send_lags_s.append(lag_s)
    outcome.retry_ms += retry_ms
    if status == "OK":
        outcome.latencies_s.append(took_s)


async def closed_loop(address: str, load: Load, in_flight: int, *, warm_up_s: float = 1.0) -> Outcome:
    """So many requests in flight all the time; `rate` counts for nothing. What a server does at most."""
    outcome = Outcome(seconds=load.seconds - warm_up_s)
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(METHOD)
        await channel.channel_ready()
        begin = time.monotonic()

        async def one_after_another() -> None:
            while (now := time.monotonic()) < begin + load.seconds:
                await _one(call, load, now, outcome if now >= begin + warm_up_s else None)

        await asyncio.gather(*[one_after_another() for _ in range(in_flight)])
    return outcome


def body(model: str, features: int, rows: int = 1, name: str = "input") -> bytes:
    """A serialised ModelInferRequest of one FP32 input."""
    request = inference_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype="FP32", shape=[rows, features])
    request.raw_input_contents.append(np.zeros((rows, features), np.float32).tobytes())
    return request.SerializeToString()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="localhost:8001")
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", default="input", help="name of its only input, FP32")
    parser.add_argument("--features", type=int, required=True)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    parser.add_argument("--tenant", default="")
    options = parser.parse_args()
    load = Load(
        body(options.model, options.features, options.rows, options.input),
        options.rate,
        options.seconds,
        options.timeout,
        (("x-dodona-tenant", options.tenant),) if options.tenant else (),
    )
    outcome = asyncio.run(open_loop(options.address, load))
    print(f"goodput {outcome.goodput:.0f}/s of {load.rate:.0f}/s offered; {dict(outcome.statuses)}")
    print(f"p50 {1e3 * outcome.quantile_s(0.5):.2f} ms, p99 {1e3 * outcome.quantile_s(0.99):.2f} ms")
    print(f"the generator was late by {1e3 * quantile(outcome.send_lags_s, 0.99):.2f} ms (p99)")


if __name__ == "__main__":
    main()
