"""What foreign clients call: one of our fronts in a process of its own, alone or behind a real Envoy."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.install import ENVOY, HERE

READY_WITHIN_S = 30.0


@contextmanager
def front(kind: str, *options: str) -> Iterator[str]:
    """The address of a front, "http2" or "grpcio"; drained at the end, which must take all its calls with it."""
    command = [sys.executable, "-m", "tests.interop.server", kind, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1]) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            assert process.wait(READY_WITHIN_S) == 0


@contextmanager
def envoy(upstream: str, folder: Path) -> Iterator[str]:
    """The address of an Envoy that proxies to `upstream`."""
    listen, admin = free_ports(2)
    config = (HERE / "envoy.yaml").read_text()
    values = {"ADMIN": admin, "LISTEN": listen, "UPSTREAM": upstream.rpartition(":")[2]}
    for name, value in values.items():
        config = config.replace(f"port_value: {name}", f"port_value: {value}")
    path = folder / "envoy.yaml"
    path.write_text(config)
    binary = ENVOY / "envoy" / "_bin" / "envoy"
    binary.chmod(0o755)
    command = [str(binary), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    log = (folder / "envoy.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _until_ready(f"http://127.0.0.1:{admin}/ready", folder / "envoy.log")
            yield f"127.0.0.1:{listen}"
        finally:
            process.terminate()
            process.wait(READY_WITHIN_S)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise AssertionError(f"Envoy does not become ready: {log.read_text()[-2000:]}") from None
        time.sleep(0.05)
