"""The regression bench of CI: Dodona's CPU per request as a ratio to a fixed yardstick, measured by turns in one run.

    python -m loadtests.ratio                 # compare with loadtests/ratio.json; exits 1 on a regression
    python -m loadtests.ratio --record 10     # measure ten times and write that file

Both servers are up, slices of half a second go to them by turns (loadtests/bench/pairs.py), and what counts is the
median of the pairs: CPU time of the process trees, no rates, so that neighbours on the machine move both alike. The
file has the median of many whole runs, each with fresh processes, and how far they strayed; a run fails only if it lies
beyond that by a margin, and does so again twice. A run takes half a minute on a quiet machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from examples.progress import console, step
from loadtests.bench.pairs import Side, cpu_us, ratios
from loadtests.bench.trial import Trial, prepared
from loadtests.bench.versus import side_of
from loadtests.bench.wire import Message
from loadtests.bench.workloads import TINY
from loadtests.peers import dodona
from loadtests.peers.peer import Protocol
from loadtests.processes import exact_cpu_s
from serving.errors import DodonaError

FILE = Path(__file__).with_name("ratio.json")
PROTOCOLS: tuple[Protocol, ...] = ("grpc", "json")
SLICE_S, PAIRS = 0.5, 8
ATTEMPTS = 3
MARGIN = 0.3
"""What the machine itself may add: the same code lay 27 % above its quiet highest with nine processes beside it."""
"""What the bound leaves above the highest of the recorded runs, as a share: of ten runs on another day, one lies above
the highest of ten recorded."""


@dataclass(frozen=True)
class Recorded:
    """Of whole runs: the median ratio, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    runs: int

    @property
    def bound(self) -> float:
        return self.high * (1 + MARGIN)


def recorded(runs: Sequence[float]) -> Recorded:
    return Recorded(*(round(value, 3) for value in (statistics.median(runs), min(runs), max(runs))), len(runs))


def regressions(found: Mapping[str, float], known: Mapping[str, Recorded]) -> list[str]:
    """In words, for each protocol that has become dearer beyond the noise."""
    return [
        f"{protocol}: {ratio:.3f} of the yardstick, recorded {known[protocol].median:.3f}"
        f" ({known[protocol].low:.3f}-{known[protocol].high:.3f}), at most {known[protocol].bound:.3f}"
        for protocol, ratio in found.items()
        if protocol in known and ratio > known[protocol].bound
    ]


@contextmanager
def yardstick() -> Iterator[Side]:
    """Running, for as long as the block lasts."""
    command = [sys.executable, "-m", "loadtests.yardstick"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            body = json.dumps({"data": [number / 7 for number in range(30)]}).encode()
            yield Side(
                "yardstick",
                Message("127.0.0.1", port, "/", (), body, 100, http1=True),
                lambda: exact_cpu_s([process.pid]),
            )
        finally:
            process.terminate()


def measured(trial: Trial, work: Path) -> dict[str, float]:
    """By protocol, one whole run with fresh processes. Raises RuntimeError, DodonaError."""
    measure = partial(cpu_us, seconds=SLICE_S)
    with dodona.started(trial, work, "http2") as server, yardstick() as other:
        found = {}
        for protocol in PROTOCOLS:
            side = side_of(protocol, server, trial, protocol)
            measure(side), measure(other)  # warm up
            found[protocol] = statistics.median(ratios(side, other, PAIRS, measure))
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.ratio", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--record", type=int, metavar="RUNS", help="write loadtests/ratio.json from so many runs")
    parser.add_argument("--work", type=Path, default=Path(".dodona/ratio"), help="folder for the model and logs")
    asked = parser.parse_args(arguments)
    try:
        trial = prepared(TINY, "onnx", asked.work, Path(".cache/peers"))
        return record(trial, asked.work, asked.record) if asked.record else check(trial, asked.work)
    except (RuntimeError, OSError, DodonaError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1


def record(trial: Trial, work: Path, runs: int) -> int:
    found: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
    for number in range(runs):
        with step(f"run {number + 1} of {runs}") as note:
            for protocol, ratio in measured(trial, work).items():
                found[protocol].append(ratio)
                note(f"{protocol} {ratio:.3f}")
    document = {protocol: asdict(recorded(each)) for protocol, each in found.items()}
    FILE.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"written to {FILE.name}: {document}", highlight=False)
    return 0


def check(trial: Trial, work: Path) -> int:
    known = {protocol: Recorded(**each) for protocol, each in json.loads(FILE.read_text()).items()}
    for attempt in range(1, ATTEMPTS + 1):
        with step(f"CPU per request beside the yardstick, attempt {attempt} of at most {ATTEMPTS}") as note:
            found = measured(trial, work)
            for protocol, ratio in found.items():
                note(f"{protocol} {ratio:.3f}, recorded {known[protocol].median:.3f}")
        worse = regressions(found, known)
        if not worse:
            return 0
    console.print(
        "[red]" + "\n".join(worse) + "[/]\nthree times in a row. Find what became dearer, or, where it is worth its"
        " price, record anew: python -m loadtests.ratio --record 10",
        highlight=False,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
