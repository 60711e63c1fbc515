"""Shared memory where processes come and go."""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from router.process import Router
from router.settings import Link, RouterSettings, SharedMemory
from serving.agent.settings import Supervise
from tests.conformance.shared_memory import objects
from tests.integration.up import pack_echo

X = np.array([[1, 2]], np.float32)


def settings_in(folder: Path, shared_memory: SharedMemory) -> ClusterSettings:
    pack_echo(folder / "models", "echo")
    return ClusterSettings(
        repository=str(folder / "models"),
        run_folder=str(folder / "run"),
        log_file=str(folder / "log"),
        router=RouterSettings(grpc_port=0, http_port=0, metrics_port=0, shared_memory=shared_memory),
        supervise=Supervise(restart_delay_s=0.05),
    )


def infer(client: grpc.InferenceServerClient) -> np.ndarray:
    one = grpc.InferInput("x", [1, 2], "FP32").set_shared_memory("r", X.nbytes)
    answer: np.ndarray = client.infer("echo", [one], client_timeout=20).as_numpy("x")
    return answer


def replaced(cluster: SyncCluster) -> None:
    """Kill the workers and wait for others."""
    old = {pid for name, pid in cluster.pids.items() if name.startswith("echo")}
    assert old
    for pid in old:
        psutil.Process(pid).kill()
    end = time.monotonic() + 20
    while not {pid for name, pid in cluster.pids.items() if name.startswith("echo")} - old:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_registrations_outlive_a_worker(tmp_path: Path) -> None:
    """A worker that takes the place of a killed one finds the region; nothing is left when the cluster has gone."""
    before = set(Path("/dev/shm").glob("dodona-*"))
    with (
        running(settings_in(tmp_path, SharedMemory())) as cluster,
        grpc.InferenceServerClient(cluster.grpc_address) as client,
    ):
        cluster.ready(30)
        with objects(r=X.nbytes) as regions:
            key, handle = regions["r"]
            shm.set_shared_memory_region(handle, [X])
            client.register_system_shared_memory("r", key, X.nbytes)
            np.testing.assert_array_equal(infer(client), X)
            replaced(cluster)
            np.testing.assert_array_equal(infer(client), X)
            client.unregister_system_shared_memory("r")
            with pytest.raises(InferenceServerException, match="no shared memory region 'r' is registered"):
                infer(client)
            client.register_system_shared_memory("r", key, X.nbytes)
            (ours,) = (folder for folder in set(Path("/dev/shm").glob("dodona-*")) - before if _holds(folder, key))
    assert not ours.exists()


def _holds(folder: Path, key: str) -> bool:
    return any(key in entry.read_text() for entry in folder.glob("regions/*"))


def test_switched_off(tmp_path: Path) -> None:
    """Every call and every tensor says which setting brings it back, and the server does not promise it."""
    with (
        running(settings_in(tmp_path, SharedMemory(enabled=False))) as cluster,
        grpc.InferenceServerClient(cluster.grpc_address) as client,
    ):
        cluster.ready(30)
        assert "system_shared_memory" not in client.get_server_metadata().extensions
        for ask in (
            lambda: client.register_system_shared_memory("r", "/r", 8),
            client.get_system_shared_memory_status,
            client.unregister_system_shared_memory,
            lambda: infer(client),
        ):
            with pytest.raises(InferenceServerException, match=r"router\.shared_memory\.enabled: true") as refused:
                ask()
            assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_two_routers_one_registration(tmp_path: Path) -> None:
    """A region that is registered at one router is there at the other at once, for a worker that serves both, and a
    router that stops takes nothing from the one that stays."""
    pack_echo(tmp_path / "models", "echo")
    asyncio.run(_two_routers(tmp_path))


async def _two_routers(folder: Path) -> None:
    routers = [
        Router(
            RouterSettings(
                name=name, grpc_port=0, http_port=0, metrics_port=0, link=Link(address=f"unix:{folder}/{name}.sock")
            )
        )
        for name in ("a", "b")
    ]
    for router in routers:
        await router.start()
    settings = {
        "name": "echo-1",
        "framework": "echo",
        "routers": [router.core.listeners["link"] for router in routers],
        "models": [{"name": "echo", "version": "1", "model_folder": str(folder / "models" / "echo")}],
    }
    (folder / "worker.json").write_text(json.dumps(settings))
    command = [sys.executable, "-P", "-m", "serving.worker", "--settings", str(folder / "worker.json")]
    worker = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    first, second = (grpc_aio.InferenceServerClient(router.core.listeners["grpc"]) for router in routers)
    try:
        async with asyncio.timeout(60):
            while not all(router.core.catalogue.is_ready("echo") for router in routers):
                await asyncio.sleep(0.01)
        with objects(r=X.nbytes) as regions:
            key, handle = regions["r"]
            shm.set_shared_memory_region(handle, [X])
            await first.register_system_shared_memory("r", key, X.nbytes)
            one = grpc.InferInput("x", [1, 2], "FP32").set_shared_memory("r", X.nbytes)
            np.testing.assert_array_equal((await second.infer("echo", [one])).as_numpy("x"), X)
            with pytest.raises(InferenceServerException, match="'r' is already registered"):
                await second.register_system_shared_memory("r", key, X.nbytes)
            await first.close()
            await routers[0].drain()
            np.testing.assert_array_equal((await second.infer("echo", [one])).as_numpy("x"), X)
            await second.unregister_system_shared_memory()
            with pytest.raises(InferenceServerException, match="no shared memory region 'r' is registered"):
                await second.infer("echo", [one])
    finally:
        worker.terminate()
        await worker.wait()
        await second.close()
        await routers[1].drain()
    assert not Path(routers[1].core.shared_memory.folder).exists()
