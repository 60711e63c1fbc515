"""Start a rival, wait until it serves, and stop it with everything it has started."""

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from dodona.client.description import Description
from loadtests import processes
from loadtests.answers import ask
from loadtests.bench.trial import Trial
from loadtests.bodies import Row, grpc_load, instances_load, json_load, rest_load
from loadtests.h2load import Load
from loadtests.peers.environment import Environment
from loadtests.peers.peer import ROOT, SERVED, Launch, Peer, Protocol, Scene
from loadtests.processes import Usage

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 15.0
POLL_S = 0.01


class Rival:
    """A started rival, in the form that the bench measures."""

    def __init__(self, peer: Peer, scene: Scene, model: Description, pid: int) -> None:
        self.name = peer.name
        self.speaks = peer.speaks
        self.answers_vary = peer.answers_vary
        self.inspected = peer.inspected
        self.ready_s = 0.0
        """From starting the process to the model being served, in seconds."""
        self.pids = {peer.name: pid}
        self._peer = peer
        self._scene = scene
        self._model = model

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self._scene.grpc_port}"

    @property
    def http_address(self) -> str:
        return f"127.0.0.1:{self._scene.http_port}"

    def load(self, protocol: Protocol, row: Row, connections: int, streams: int = 1) -> Load:
        """Raises ValueError for a protocol that it does not speak."""
        if protocol not in self.speaks:
            raise ValueError(f"{self.name} does not speak {protocol}")
        match protocol:
            case "grpc":
                return grpc_load(self.grpc_address, self._model, row, connections=connections, streams=streams)
            case "binary":
                return rest_load(self.http_address, self._model, row, connections=connections)
            case "json":
                return json_load(self.http_address, self._model, row, connections=connections)
            case "instances":
                return instances_load(f"http://{self.http_address}{self._peer.path}", row, connections=connections)

    def usage(self) -> Usage:
        return processes.usage(self.pids)

    def succeeded(self) -> int | None:
        """Requests answered rightly so far by its own count; None where it keeps none."""
        if self._peer.counter is None:
            return None
        return self._peer.counter(get(self._scene.metrics_port, "/metrics")[1])


@contextmanager
def started(peer: Peer, environment: Environment, trial: Trial, work: Path) -> Iterator[Rival]:
    """Serve the trial's model for as long as the block lasts. Its words go to `work/<name>/server.log`. Raises
    RuntimeError with the last of them if it does not get ready."""
    log_file = work / peer.name / "server.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    # Unix sockets have short paths, so this must not lie deep in a checkout.
    folder = Path(tempfile.mkdtemp(prefix=f"{peer.name}-"))
    model = trial.model
    shape, outputs = model.inputs[0].shape, model.outputs[0].shape[-1]
    scene = Scene(folder, environment, model.name, trial.model_file.absolute(), shape, outputs, *free_ports(3))
    try:
        with log_file.open("w") as log:
            launch = peer.launch(scene)
            began = time.monotonic()
            process = subprocess.Popen(
                launch.command,
                cwd=folder,
                env=variables(scene, launch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                rival = Rival(peer, scene, model, process.pid)
                wait(rival, scene, launch, process, log_file)
                rival.ready_s = time.monotonic() - began
                yield rival
            finally:
                stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def variables(scene: Scene, launch: Launch) -> dict[str, str]:
    # Nothing of the bench's own environment (a virtual environment, a PYTHONPATH) reaches the rival.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {
        **kept,
        "PATH": f"{scene.environment.folder.absolute() / 'bin'}:{kept.get('PATH', '')}",
        "PYTHONPATH": f"{SERVED}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PEER_NAME": scene.model,
        "PEER_MODEL": str(scene.model_file),
        "OMP_NUM_THREADS": "1",
        **launch.variables,
    }


def wait(rival: Rival, scene: Scene, launch: Launch, process: subprocess.Popen[bytes], log_file: Path) -> None:
    """Until its ready route answers 200; without one, until it answers a request."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{rival.name} exits with {process.returncode}: {tail(log_file)}")
        if launch.ready and get(scene.http_port, launch.ready)[0] == http.client.OK:
            return
        if not launch.ready and answers(rival, scene.shape):
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"{rival.name} is not ready within {READY_WITHIN_S:.0f} s: {tail(log_file)}")


def answers(rival: Rival, shape: tuple[int, ...]) -> bool:
    try:
        ask(rival.load("grpc", np.zeros(shape, np.float32), 1))
    except RuntimeError:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """The process and every descendant it has now; what does not end in time is killed."""
    try:
        family = processes.tree(process.pid)
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    others = [each for each in family if each.pid != process.pid and each.is_running()]
    for each in others:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    for each in psutil.wait_procs(others, timeout=STOP_WITHIN_S)[1]:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body; (0, "") while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tail(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-5:])[-600:] + f" ({log_file})"
