"""Workers that hang or stop, and routers that are killed: nobody is answered twice, wrongly or never."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from dodona.client import AsyncClient
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from router.settings import Link, RouterSettings
from serving.agent.settings import Supervise
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from tests.integration.up import pack_echo

TIMEOUT_S = 20.0
X = TensorDefinition(name="x", datatype="FP32", shape=(2,))

HANGS_ONCE = """
import ctypes, os, time

class Model:
    def __init__(self, flag, how):
        self.flag, self.how = flag, how

    def load(self, folder):
        pass

    def predict(self, inputs):
        if (inputs["x"] == 666).any() and os.path.exists(self.flag):
            os.unlink(self.flag)
            if self.how == "thread":
                while True:
                    time.sleep(0.01)
            ctypes.PyDLL(None).sleep(60)  # keeps the interpreter's lock, as an extension module can
        return {"x": inputs["x"]}
"""


def pack_hanging(folder: Path, how: str) -> Path:
    """A model that hangs on its first 666; what says whether it still will is the file that is returned."""
    source, flag = folder / f"hanging_{how}.py", folder / how
    source.write_text(HANGS_ONCE)
    flag.touch()
    pack(
        source,
        name=f"hanging-{how}",
        repository=folder / "models",
        framework="python",
        class_=f"hanging_{how}:Model",
        inputs=[X],
        outputs=[X],
        options={"flag": str(flag), "how": how},
    )
    with (folder / f"models/hanging-{how}/model.yaml").open("a") as definition:
        definition.write("batching: {run_timeout_s: 0.5}\n")
    return flag


@dataclass
class Bed:
    cluster: SyncCluster
    flags: dict[str, Path]
    """Model that hangs on its first 666 -> the file that is there until it did."""

    def workers(self, framework: str) -> set[int]:
        return {pid for name, pid in self.cluster.pids.items() if name.startswith(framework)}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Two replicas of an echo model, one of two models that hang: in their thread, or with the interpreter's lock."""
    folder = tmp_path_factory.mktemp("faults")
    pack_echo(folder / "models", "echo")
    flags = {how: pack_hanging(folder, how) for how in ("thread", "process")}
    settings = ClusterSettings(
        repository=str(folder / "models"),
        run_folder=str(folder / "run"),
        log_file=str(folder / "log"),
        router=RouterSettings(
            grpc_port=0, http_port=0, metrics_port=0, link=Link(heartbeat_interval_s=0.1, heartbeat_timeout_s=1.0)
        ),
        supervise=Supervise(restart_delay_s=0.05, poll_interval_s=0.1, silence_timeout_s=3.0, drain_grace_s=2.0),
        workers={"echo": {"replicas": 2}},
    )
    with running(settings) as cluster:
        cluster.ready(30)
        yield Bed(cluster, flags)


class Callers:
    """The same question over gRPC and over REST."""

    def __init__(self, cluster: SyncCluster, client: AsyncClient, http: httpx.AsyncClient) -> None:
        self.client, self._http = client, http
        self._base = f"http://{cluster.http_address}"

    async def replicas(self, model: str, count: int) -> None:
        """Returns once so many are connected."""
        async with asyncio.timeout(TIMEOUT_S):
            while not any((one.name, one.replicas) == (model, count) for one in (await self.client.status()).models):
                await asyncio.sleep(0.02)

    async def grpc(self, model: str, *values: float) -> list[float]:
        sent = np.array([values], np.float32)
        prediction = await self.client.predict(model, {"x": sent}, timeout_s=TIMEOUT_S)
        return [float(value) for value in prediction.outputs["x"][0]]

    async def rest(self, model: str, *values: float) -> list[float]:
        tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}
        reply = await self._http.post(f"{self._base}/v2/models/{model}/infer", json={"inputs": [tensor]})
        assert reply.status_code == 200, reply.text
        return [float(value) for value in reply.json()["outputs"][0]["data"]]


def play(bed: Bed, scenario: Callable[[Callers], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with (
            asyncio.timeout(60),
            AsyncClient(f"grpc://{bed.cluster.grpc_address}") as client,
            httpx.AsyncClient(timeout=TIMEOUT_S) as http,
        ):
            await scenario(Callers(bed.cluster, client, http))

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def forty(callers: Callers) -> None:
    """Each asks with numbers of its own and gets them back."""
    asked = [(callers.grpc if number % 2 else callers.rest)("echo", 1, number) for number in range(40)]
    assert await asyncio.gather(*asked) == [[1, number] for number in range(40)]


def test_a_worker_that_runs_again_after_a_stop_answers_nobody_twice(bed: Bed) -> None:
    """The router gave it up and asked another; what it says when it wakes reaches no one, and it serves again."""

    async def scenario(callers: Callers) -> None:
        await callers.replicas("echo", 2)
        stopped = min(bed.workers("echo"))
        os.kill(stopped, signal.SIGSTOP)
        asking = asyncio.create_task(forty(callers))
        await callers.replicas("echo", 1)
        os.kill(stopped, signal.SIGCONT)
        await asking
        await callers.replicas("echo", 2)
        await forty(callers)
        assert stopped in bed.workers("echo")

    play(bed, scenario)


def test_a_worker_that_is_stopped_is_replaced_and_its_work_done_again(bed: Bed) -> None:
    """SIGSTOP: no socket closes and nobody raises; only its silence tells."""

    async def scenario(callers: Callers) -> None:
        await callers.replicas("echo", 2)
        stopped = min(bed.workers("echo"))
        os.kill(stopped, signal.SIGSTOP)
        await forty(callers)
        await until(lambda: not psutil.pid_exists(stopped))
        await callers.replicas("echo", 2)

    play(bed, scenario)


@pytest.mark.parametrize("how", ["thread", "process"])
def test_a_model_that_hangs_is_replaced_and_its_work_done_again(bed: Bed, how: str) -> None:
    """Whether only its run is stuck or the whole process: everybody is answered, and the old process is gone."""

    async def scenario(callers: Callers) -> None:
        model = f"hanging-{how}"
        await callers.replicas(model, 1)
        assert await callers.rest(model, 1, 2) == [1, 2]
        before = bed.workers("python")
        culprit = asyncio.create_task(callers.grpc(model, 666, 1))
        await until(lambda: not bed.flags[how].exists())
        others = [callers.rest(model, 7, number) for number in range(10)]
        assert await asyncio.gather(*others) == [[7, number] for number in range(10)]
        assert await culprit == [666, 1]
        await until(lambda: len(before & bed.workers("python")) < len(before))

    play(bed, scenario)
