"""`make fuzz EXAMPLES=1000000`: random frame sequences by the million against python-hyper's h2.

    python -m tests.router.http2.fuzz --examples 1000000 [--first SEED] [--seconds S] [--jobs N]
    python -m tests.router.http2.fuzz --seed 4711        # one sequence again, cut down to what it takes to fail

A sequence is a function of its seed alone. Half of them are mostly valid, so that they come far before one side gives
up the connection; in a third of them the bytes reach us torn at random places. Prints the seeds it has done now and
then, and every seed that fails with the shortest part of its sequence that still does; exit 1 if there was one.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from router.http2 import frames
from tests.router.http2.differential import Step, disagreement

CHUNK = 500
LONGEST = 40
FIELDS = (
    (("x-a", "1"),),
    (("grpc-timeout", "1S"),),
    (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    (("x-long", "v" * 200), ("x-a", "2")),
    (("cookie", "a=b"), ("cookie", "c=d")),
    (("user-agent", "grpc-fuzz/1"),),
)
BAD_FIELDS = ((("X-Upper", "1"),), (("connection", "x"),), ((":path", "/b"),), (("x-a", " 1"),))
SETTINGS = ((3, 100), (3, 0), (4, 0), (4, 1), (4, 70_000), (5, 16_384), (5, 70_000), (6, 100), (99, 7))
BAD_SETTINGS = ((4, 2**31), (5, 0), (2, 2))

Sequence = tuple[list[Step], list[list[int]]]


def sequence(seed: int) -> Sequence:
    """Steps, and the places where the bytes of each are torn."""
    rng = random.Random(seed)
    valid = rng.random() < 0.5
    caller = _Caller(rng, 0.004 if valid else 0.15)
    steps = [caller.step() for _ in range(rng.randint(1, LONGEST))]
    torn = rng.random() < 1 / 3
    cuts = [[rng.randrange(400) for _ in range(rng.randint(0, 3))] for _ in steps] if torn else []
    return steps, cuts


class _Caller:
    """Makes steps that mostly fit what came before; each is a bad one with the chance `folly`."""

    def __init__(self, rng: random.Random, folly: float) -> None:
        self._rng = rng
        self._folly = folly
        self._last = -1
        self._open: list[int] = []

    def step(self) -> Step:
        rng = self._rng
        if rng.random() < self._folly:
            return self._bad()
        roll = rng.random()
        if roll < 0.3 or not self._open:
            return self._opening()
        stream_id = rng.choice(self._open)
        if roll < 0.75:
            return self._on_stream(stream_id)
        return self._about_connection(stream_id)

    def _opening(self) -> Step:
        rng = self._rng
        self._last += rng.choice((2, 2, 2, 4))
        end = frames.END_STREAM if rng.random() < 0.15 else 0
        if not end:
            self._open.append(self._last)
        roll = rng.random()
        if roll < 0.2:
            return ("open", self._last, end, rng.choice(FIELDS))
        if roll < 0.4:
            return ("split", self._last, end, rng.randrange(60))
        if roll < 0.45:
            if end:
                self._open.append(self._last)
            return ("table", self._last, rng.choice((0, 64, 500, 4096)))
        return ("indexed", self._last, end, rng.choice(((), *FIELDS)), rng.random() < 0.7)

    def _on_stream(self, stream_id: int) -> Step:
        rng = self._rng
        end = frames.END_STREAM if rng.random() < 0.2 else 0
        roll = rng.random()
        if roll < 0.1:
            self._open.remove(stream_id)
            return ("reset", stream_id)
        if roll < 0.2:
            self._open.remove(stream_id)
            return ("trailers", stream_id, frames.END_STREAM)
        if end:
            self._open.remove(stream_id)
        if roll < 0.35:
            return ("empty", stream_id, end)
        message = rng.choice((b"", b"m", b"x" * 300, bytes(rng.randrange(5000))))
        return ("data", stream_id, end, message, rng.choice((None, None, 0, 7, 255)))

    def _about_connection(self, stream_id: int) -> Step:
        rng = self._rng
        roll = rng.randrange(6)
        if roll == 0:
            return ("window", rng.choice((0, stream_id)), rng.choice((1, 1000, 2**20)))
        if roll in (1, 2):
            return ("settings", *rng.choice(SETTINGS))
        if roll == 3:
            return ("ping", 0, 8)
        if roll == 4:
            return ("priority", rng.choice((stream_id, self._last + 2)))
        return ("raw", 0x42, rng.randrange(256), stream_id, rng.randbytes(rng.randrange(12)))

    def _bad(self) -> Step:
        rng = self._rng
        stream_id = rng.choice((0, 1, 2, 3, max(self._last, 1), self._last + 2, self._last + 3))
        end = rng.choice((0, frames.END_STREAM))
        roll = rng.randrange(10)
        if roll == 0:
            return ("open", stream_id, end, rng.choice(BAD_FIELDS))
        if roll == 1:
            return ("indexed", stream_id, end, rng.choice((*BAD_FIELDS, *FIELDS)), rng.random() < 0.5)
        if roll == 2:
            return ("trailers", stream_id, end)
        if roll == 3:
            return ("data", stream_id, end, b"late", rng.choice((None, 3)))
        if roll == 4:
            return ("reset", stream_id)
        if roll == 5:
            return ("window", stream_id, rng.choice((0, 2**31 - 1)))
        if roll == 6:
            return ("settings", *rng.choice(BAD_SETTINGS))
        if roll == 7:
            return ("ping", rng.choice((0, 3)), rng.choice((7, 8)))
        if roll == 8:
            return ("empty", stream_id, end)
        # DATA is left to the steps above, which keep to gRPC's framing; 10 is ALTSVC, which h2 knows, we need not.
        kind = rng.choice((*range(1, 10), 0x42))
        return ("raw", kind, rng.randrange(256), stream_id, rng.randbytes(rng.randrange(12)))


def failing(seed: int) -> str:
    """What is wrong with a seed, or nothing."""
    try:
        return disagreement(*sequence(seed))
    except Exception as error:  # whatever either side raises is a find
        return f"raised {type(error).__name__}: {error}"


def run_chunk(first: int, count: int) -> list[tuple[int, str]]:
    """The seeds of first .. first + count that fail, and why."""
    return [(seed, fault) for seed in range(first, first + count) if (fault := failing(seed))]


def shortest(seed: int) -> tuple[list[Step], str]:
    """The part of a failing sequence that is left when no single step can be taken out any more."""
    steps, cuts = sequence(seed)
    torn = [*cuts, *[[]] * (len(steps) - len(cuts))]
    kept = list(zip(steps, torn, strict=True))
    fault = _fault_of(kept)
    number = 0
    while number < len(kept):
        fewer = kept[:number] + kept[number + 1 :]
        if still := _fault_of(fewer):
            kept, fault = fewer, still
        else:
            number += 1
    return [step for step, _ in kept], fault


def _fault_of(kept: list[tuple[Step, list[int]]]) -> str:
    try:
        return disagreement([step for step, _ in kept], [places for _, places in kept])
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"


def run_all(first: int, examples: int, jobs: int, seconds: float) -> tuple[int, list[int]]:
    """(sequences run, seeds that fail). Stops early after `seconds`, or ten failures."""
    ends_at = time.monotonic() + seconds
    begun = time.monotonic()
    done, failed = 0, []
    chunks: Iterator[int] = iter(range(first, first + examples, CHUNK))
    told_at = begun
    with ProcessPoolExecutor(jobs) as pool:
        running: dict[Future[list[tuple[int, str]]], int] = {}
        while True:
            while len(running) < 2 * jobs and time.monotonic() < ends_at and len(failed) < 10:
                start = next(chunks, None)
                if start is None:
                    break
                size = min(CHUNK, first + examples - start)
                running[pool.submit(run_chunk, start, size)] = size
            if not running:
                return done, failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done += running.pop(future)
                for seed, fault in future.result():
                    failed.append(seed)
                    print(f"seed {seed}: {fault}", flush=True)
            now = time.monotonic()
            if now - told_at > 10:
                told_at = now
                rate = done / (now - begun)
                print(f"{done} of {examples} sequences, {rate:.0f} a second, {len(failed)} failed", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000, help="how many sequences")
    parser.add_argument("--first", type=int, help="the first seed; default: one from the system's randomness")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    options = parser.parse_args()
    if options.seed is not None:
        steps, fault = shortest(options.seed)
        print(f"{fault or 'no fault'}\n" + "\n".join(map(repr, steps)))
        return int(bool(fault))
    first = random.SystemRandom().randrange(2**40) if options.first is None else options.first
    print(f"seeds {first}..{first + options.examples - 1} in {options.jobs} processes", flush=True)
    begun = time.monotonic()
    done, failed = run_all(first, options.examples, options.jobs, options.seconds)
    elapsed_s = time.monotonic() - begun
    print(f"{done} sequences in {elapsed_s:.0f} s, {done / elapsed_s:.0f} a second, {len(failed)} failed")
    for seed in failed[:3]:
        steps, fault = shortest(seed)
        print(f"shortest of seed {seed}: {fault}", *map(repr, steps), sep="\n  ")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
