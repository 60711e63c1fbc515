"""Where Dodona's CPU goes: py-spy looks at the stacks of router and worker while a load runs, and what it sees is
counted by our own parts. py-spy is installed on demand beside the rivals; it needs the right to trace (root, or
kernel.yama.ptrace_scope 0)."""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.trial import Trial
from loadtests.h2load import run
from loadtests.peers import dodona
from loadtests.peers.environment import install

REQUIREMENT: Final = "py-spy==0.4.1"
CONNECTIONS: Final = 32
SECONDS: Final = 6.0
SAMPLES_A_SECOND: Final = 200
LOOP: Final = "event loop, and the system calls made there"
# The innermost frame that is in one of these files names the part; in this order where a path has two.
PARTS: Final[Mapping[str, str]] = {
    "router/http2/": "front: HTTP/2",
    "router/front/": "front: HTTP/2",
    "router/edge/": "edge: which model, which deadline",
    "router/dispatcher": "dispatch: queue, admission, replica",
    "router/pool": "dispatch: queue, admission, replica",
    "router/policy/": "dispatch: queue, admission, replica",
    "router/replica": "dispatch: queue, admission, replica",
    "router/request": "dispatch: queue, admission, replica",
    "router/link/": "link",
    "serving/link/": "link",
    "serving/worker/link": "link",
    "serving/wire": "decode and encode tensors",
    "serving/tensors": "decode and encode tensors",
    "serving/worker/decode": "decode and encode tensors",
    "serving/worker/encode": "decode and encode tensors",
    "serving/worker/fronts": "decode and encode tensors",
    "serving/worker/values": "decode and encode tensors",
    "serving/worker/batcher": "batching",
    "serving/worker/version": "batching",
    "serving/policy/": "batching",
    "serving/worker/assemble": "predict: check, join and split rows",
    "serving/worker/predictor": "predict: check, join and split rows",
    "serving/runtimes/": "run: the model",
    "onnxruntime/": "run: the model",
    "serving/metrics": "metrics",
    "router/metrics": "metrics",
    # What starts the loop is ours too, but says nothing of a request.
    "serving/loop": LOOP,
    "__main__": LOOP,
    "/process.py": LOOP,
    "serving/": "the rest of ours",
    "router/": "the rest of ours",
}


@dataclass(frozen=True)
class Share:
    """`share`: of all the samples of both processes, by their CPU. `cpu_us`: a request."""

    part: str
    process: str
    share: float
    cpu_us: float


def taken(cache: Path, work: Path, front: str, trial: Trial) -> list[Share]:
    """Largest first. Raises NotInstalled, RuntimeError with py-spy's words."""
    spy = install(cache / "py-spy", (REQUIREMENT,)).program("py-spy")
    with dodona.started(trial, work, front) as server, tempfile.TemporaryDirectory(prefix="profile-") as folder:
        load = server.load("grpc", trial.rows[0], CONNECTIONS)
        rate = run(load, 5_000, timeout_s=60).rate
        # CPU is counted without py-spy, which stops the process for every look.
        requests = int(rate * 2)
        before = server.usage().cpu_s
        run(load, requests, timeout_s=60)
        after = server.usage().cpu_s
        cpu_us = {name: (after[name] - before[name]) / requests * 1e6 for name in after}
        outputs = {name: Path(folder, name) for name in server.pids}
        looks = [
            subprocess.Popen(
                [
                    *(str(spy), "record", "--pid", str(pid), "--format", "raw", "--output", str(outputs[name])),
                    *("--duration", f"{SECONDS:.0f}", "--rate", str(SAMPLES_A_SECOND)),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for name, pid in server.pids.items()
        ]
        watched = run(load, int(rate * (SECONDS + 1)), timeout_s=120)
        for look in looks:
            words = look.communicate(timeout=60)[1]
            if look.returncode:
                raise RuntimeError(f"py-spy: {words.decode(errors='replace').strip()[-300:]}")
        counted = {name: counts(output.read_text().splitlines()) for name, output in outputs.items()}
    return shares(counted, cpu_us, 1e6 / SAMPLES_A_SECOND / (watched.rate * SECONDS))


def counts(lines: Iterable[str]) -> Counter[str]:
    """Samples by part, from lines of `outer (file:line);inner (file:line) number`."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        found[part_of(stack.split(";"))] += int(number)
    return found


def part_of(frames: list[str]) -> str:
    """`frames`: outermost first."""
    for frame in reversed(frames):
        for place, part in PARTS.items():
            if place in frame:
                return part
    return LOOP


def shares(counted: Mapping[str, Counter[str]], cpu_us: Mapping[str, float], sample_us: float) -> list[Share]:
    """Largest first. `cpu_us`: of a request, by process; `sample_us`: what one sample stands for, a request.

    py-spy cannot tell a loop that waits for its turn from one that works, so the loop is given what the others leave.
    """
    found = []
    for name, parts in counted.items():
        seen = {part: number * sample_us for part, number in parts.items() if part != LOOP}
        # On a busy machine a sample may stand for less than it seems.
        fit = min(1.0, cpu_us[name] / (sum(seen.values()) or 1.0))
        used = {part: us * fit for part, us in seen.items()}
        used[LOOP] = cpu_us[name] - sum(used.values())
        found += [Share(part, name, us / sum(cpu_us.values()), us) for part, us in used.items() if us > 0.05]
    return sorted(found, key=lambda share: -share.cpu_us)
