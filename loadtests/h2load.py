"""Run `h2load` once and read what it says. It is a C client, cheap enough to load a server from the same machine.

h2load sends a fixed body with a fixed number of requests in flight and counts HTTP statuses; it does not read
`grpc-status`. What it does count are the bytes of the answers' bodies, and a gRPC error has none: `data_bytes` against
the size of a known good answer tells whether all were good.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_REQUESTS = re.compile(
    r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)
_TRAFFIC = re.compile(r"traffic: .*\((\d+)\) data")
_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s)\b")
MISSING = "h2load is missing. Debian and Ubuntu: apt-get install nghttp2-client; macOS: brew install nghttp2"


@dataclass(frozen=True)
class Load:
    """What to send: `connections` x `streams` requests are in flight all the time. `http1` for REST."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    connections: int
    streams: int = 1
    http1: bool = False


@dataclass(frozen=True)
class Outcome:
    """`latencies_s`: of every request, sorted. `data_bytes`: of all answers' bodies together (gRPC: with framing)."""

    requests: int
    succeeded: int
    elapsed_s: float
    latencies_s: Sequence[float]
    data_bytes: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.elapsed_s

    def quantile_s(self, share: float) -> float:
        return self.latencies_s[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)]


def command() -> str:
    """Path of h2load. Raises FileNotFoundError saying how to install it."""
    path = shutil.which("h2load")
    if path is None:
        raise FileNotFoundError(MISSING)
    return path


def run(load: Load, requests: int, *, timeout_s: float) -> Outcome:
    """Send so many requests. Raises RuntimeError with h2load's words, TimeoutExpired, FileNotFoundError."""
    with tempfile.TemporaryDirectory(prefix="h2load-") as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(load.body)
        arguments = [
            command(),
            f"--requests={requests}",
            f"--clients={load.connections}",
            f"--max-concurrent-streams={load.streams}",
            f"--data={body}",
            f"--log-file={log}",
            *(["--h1"] if load.http1 else []),
            *(f"--header={name}: {value}" for name, value in load.headers),
            load.url,
        ]
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s, check=False)
        if ran.returncode:
            raise RuntimeError(f"h2load failed: {(ran.stderr or ran.stdout).strip()[-500:]}")
        return parse(ran.stdout, log.read_text())


def parse(text: str, log: str) -> Outcome:
    """`text` is the standard output, `log` has a line a request: start in us, status, duration in us. Raises
    RuntimeError if it has another form."""
    counts, finished, traffic = _REQUESTS.search(text), _FINISHED.search(text), _TRAFFIC.search(text)
    if counts is None or finished is None or traffic is None:
        raise RuntimeError(f"h2load's output has a new form: {text[-500:]}")
    elapsed_s = float(finished[1]) * _SECONDS[finished[2]]
    latencies_s = sorted(int(line.split("\t")[2]) / 1e6 for line in log.splitlines())
    return Outcome(int(counts[1]), int(counts[2]), elapsed_s, latencies_s, int(traffic[1]))
