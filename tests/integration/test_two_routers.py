"""Two routers before the same workers, one of them killed under load: callers repeat on the other, none is lost."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import httpx
import numpy as np

from dodona.cluster.router import RouterProcess
from protos import inference_pb2
from router.settings import Link, RouterSettings
from serving.agent.agent import Agent
from serving.agent.settings import AgentSettings
from tests.integration.up import pack_echo

INFER = "/inference.GRPCInferenceService/ModelInfer"
CALLERS = 8
# What a gRPC client is told once, in its service config: try UNAVAILABLE again, on the next router of the list.
RETRYING = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)
Ask = Callable[[float, float], Awaitable[list[float]]]


class Load:
    """Callers that ask on and on, each with numbers of its own, and look at what comes back."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stop = False

    async def call(self, name: str, caller: int, ask: Ask) -> None:
        number = 0
        while not self._stop:
            number += 1
            got = await ask(caller, number)
            self.answered[name] += 1
            if got != [caller, number]:
                self.wrong.append(f"{name}: asked {caller}, {number}, got {got}")

    async def more(self, count: int) -> None:
        """Until each kind of caller has been answered so many times more."""
        goals = {name: self.answered[name] + count for name in ("grpc", "rest")}
        async with asyncio.timeout(60):
            while any(self.answered[name] < goal for name, goal in goals.items()):
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._stop = True


def over_grpc(channel: grpc.aio.Channel) -> Ask:
    method = channel.unary_unary(INFER)

    async def ask(caller: float, number: float) -> list[float]:
        request = inference_pb2.ModelInferRequest(model_name="echo")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
        request.raw_input_contents.append(np.array([caller, number], np.float32).tobytes())
        answer = inference_pb2.ModelInferResponse.FromString(await method(request.SerializeToString(), timeout=20))
        return [float(value) for value in np.frombuffer(answer.raw_output_contents[0], np.float32)]

    return ask


def over_rest(http: httpx.AsyncClient, addresses: list[str]) -> Ask:
    """Whoever gets no answer, or 503, asks the other router."""

    async def ask(caller: float, number: float) -> list[float]:
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [caller, number]}]}
        for attempt in range(8):
            address = addresses[(int(caller) + attempt) % len(addresses)]
            try:
                reply = await http.post(f"http://{address}/v2/models/echo/infer", json=body)
            except httpx.TransportError:
                continue
            if reply.status_code != 503:
                break
            await asyncio.sleep(0.05)
        assert reply.status_code == 200, reply.text
        return [float(value) for value in reply.json()["outputs"][0]["data"]]

    return ask


def test_a_router_that_is_killed_costs_nobody_an_answer(tmp_path: Path) -> None:
    """gRPC callers with a retry policy and REST callers that ask the other: each call is answered, with its own."""
    pack_echo(tmp_path / "models", "echo")

    async def scenario() -> None:
        log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
        routers = []
        for name in ("a", "b"):
            settings = RouterSettings(
                name=name, grpc_port=0, http_port=0, metrics_port=0, link=Link(address=f"unix:{tmp_path}/{name}.sock")
            )
            routers.append(RouterProcess(settings, tmp_path / f"{name}.json", stderr=log))
        lives = [asyncio.create_task(router.run()) for router in routers]
        await asyncio.gather(*(router.started for router in routers))
        agent = Agent(
            AgentSettings(
                repository=str(tmp_path / "models"),
                routers=tuple(router.listeners["link"] for router in routers),
                run_folder=str(tmp_path / "run"),
            ),
            stderr=log,
        )
        lives.append(asyncio.create_task(agent.run()))
        try:
            await under_load(routers)
        finally:
            for router in routers:
                router.stop()
            agent.stop()
            async with asyncio.timeout(30):
                await asyncio.gather(*lives)
            os.close(log)

    asyncio.run(scenario())


async def under_load(routers: list[RouterProcess]) -> None:
    target = "ipv4:" + ",".join(router.listeners["grpc"] for router in routers)
    addresses = [router.listeners["http"] for router in routers]
    options = [("grpc.service_config", RETRYING)]
    load = Load()
    async with (
        grpc.aio.insecure_channel(target, options=options) as channel,
        httpx.AsyncClient(timeout=20) as http,
        asyncio.TaskGroup() as tasks,
    ):
        async with asyncio.timeout(60):
            for address in addresses:
                while (await http.get(f"http://{address}/v2/models/echo/ready")).status_code != 200:
                    await asyncio.sleep(0.02)
        for caller in range(CALLERS):
            tasks.create_task(load.call("grpc", caller, over_grpc(channel)))
            tasks.create_task(load.call("rest", caller, over_rest(http, addresses)))
        await load.more(100)
        killed = routers[0]
        assert killed.pid is not None
        os.kill(killed.pid, signal.SIGKILL)
        await load.more(100)
        while killed.restarts < 1 or not await is_up(http, addresses[0]):
            await asyncio.sleep(0.02)
        await load.more(100)
        load.stop()
    assert load.wrong == []


async def is_up(http: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await http.get(f"http://{address}/v2/models/echo/ready")).status_code == 200
    except httpx.TransportError:
        return False
