"""Real clusters for tests: `dodona up` as a process of its own, with small echo models."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack

WAIT_S = 30.0
DODONA = (sys.executable, "-m", "dodona.cli")


def pack_echo(repository: Path, name: str, version: str | None = None, **options: Any) -> Path:
    """A model that gives back its input `x`, FP32[2]; the version's folder."""
    inputs = (TensorDefinition(name="x", datatype="FP32", shape=(2,), columns=("a", "b")),)
    packed = pack(
        None,
        framework="echo",
        name=name,
        repository=repository,
        version=version,
        inputs=inputs,
        options=options or None,
    )
    return packed.folder


class Up:
    """`dodona up --json` in a folder. Its events are read as they come; on a failure its log is shown."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.log = folder / "up.log"
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        ports = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DODONA_")}
        self.process = subprocess.Popen(
            [*DODONA, "up", "--json", "--log-file", str(self.log), *ports, *options],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def event(self, name: str, /, **expected: object) -> dict[str, Any]:
        """The next event of this name with these fields; those before it are passed over."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                event = None
            if event is None:
                raise AssertionError(f"no event {name} {expected}; seen: {self.events}\n{self._log_text()}")
            if event["event"] == name and all(event.get(key) == value for key, value in expected.items()):
                return event

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        return self.process.wait(WAIT_S)

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._queue.put(event)
        self._queue.put(None)

    def _log_text(self) -> str:
        return self.log.read_text()[-8000:] if self.log.exists() else "no log"


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether these processes have ended, waiting for them if need be."""
    _, alive = psutil.wait_procs(processes, timeout=WAIT_S)
    return not alive


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"


def copy_slowly_first_half(source: Path, target: Path) -> Callable[[], None]:
    """Copy a version folder up to the middle of its manifest; calling what is returned copies the rest."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.name != "MANIFEST.json":
            shutil.copy(file, target / file.name)
    whole = (source / "MANIFEST.json").read_bytes()
    (target / "MANIFEST.json").write_bytes(whole[: len(whole) // 2])

    def finish() -> None:
        (target / "MANIFEST.json").write_bytes(whole)

    return finish
