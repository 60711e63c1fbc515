"""The agent with real processes (a fake worker) and a real link (a fake router)."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protos import link_pb2
from serving.agent.agent import Agent
from serving.agent.child import Child
from serving.agent.plan import Found
from serving.agent.router_link import RouterLink
from serving.agent.settings import AgentSettings, Supervise
from serving.errors import Unavailable
from serving.priority import session_nice
from serving.spec import ModelSpec
from serving.status import Status
from tests.integration.fake_router import FakeRouter
from tests.scheduling import grouped_by_session

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
QUICK = Supervise(poll_interval_s=0.02, restart_delay_s=0.01, drain_grace_s=0.1)


class Shelf:
    """A repository in memory."""

    def __init__(self, *versions: str) -> None:
        self.fault = ""
        self.put(*versions)

    def put(self, *versions: str) -> None:
        """Each "framework:name/version"."""
        self.found = []
        for text in versions:
            framework, _, path = text.partition(":")
            name, _, version = path.partition("/")
            self.found.append(Found(ModelSpec(name, version), framework, digest="1", labels={"stable": version}))

    def scan(self) -> list[Found]:
        if self.fault:
            raise Unavailable(self.fault)
        return list(self.found)


@asynccontextmanager
async def running(shelf: Shelf, folder: Path, supervise: Supervise = QUICK):
    async with FakeRouter(folder / "link.sock") as router:
        settings = AgentSettings(
            routers=(router.address,), token="secret", run_folder=str(folder / "run"), supervise=supervise
        )
        agent = Agent(settings, scan=shelf.scan, command=COMMAND)
        life = asyncio.create_task(agent.run())
        try:
            yield agent, router
        finally:
            agent.stop()
            await asyncio.wait_for(life, 15)


async def gone(pid: int) -> None:
    """Returns once no process has this id."""

    async def wait() -> None:
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 15)


def test_agent_starts_workers_and_tells_the_router(tmp_path):
    """Hello with role and token, the index with states and labels, one process per framework; all gone at the end."""

    async def scenario():
        shelf = Shelf("onnx:digits/1", "xgboost:cancer/1")
        async with running(shelf, tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"digits/1": "READY", "cancer/1": "READY"})
            assert agent.settled
            assert router.hellos[0].role == link_pb2.ROLE_AGENT
            assert router.hellos[0].token == "secret"
            entry = router.of("index")[-1].entries[0]
            assert (entry.framework, dict(entry.labels)) == ("onnx", {"stable": "1"})
            pids = agent.pids
            assert sorted(pids) == ["onnx-1", "xgboost-1"]
            assert [version.load_s for version in agent.index] == [0.25, 0.25]
        for pid in pids.values():
            await gone(pid)
        assert list((tmp_path / "run" / "workers").iterdir()) == []

    asyncio.run(scenario())


def test_agents_and_workers_of_one_name_are_told_apart(tmp_path):
    """Two agents of the same name, or one that was restarted, give routers names that never clash."""

    async def scenario():
        shelf = Shelf("onnx:digits/1")
        async with running(shelf, tmp_path) as (one, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            settings = AgentSettings(routers=(router.address,), run_folder=str(tmp_path / "run"), supervise=QUICK)
            two = Agent(settings, scan=shelf.scan, command=COMMAND)
            life = asyncio.create_task(two.run())
            await router.until(lambda: len(router.hellos) == 2)
            while not two.settled:
                await two.changed()
            assert list(one.pids) == list(two.pids) == ["onnx-1"]
            assert len({hello.name for hello in router.hellos}) == 2
            files = (tmp_path / "run" / "workers").iterdir()
            names = {json.loads(file.read_text())["name"] for file in files}
            assert len(names) == 2
            assert all(name.startswith("onnx-1-") for name in names)
            two.stop()
            await asyncio.wait_for(life, 15)

    asyncio.run(scenario())


@grouped_by_session
def test_a_worker_is_held_back_while_others_serve(tmp_path):
    """The first one loads at full speed; one that comes later has its whole session lowered until it serves."""

    async def scenario():
        shelf = Shelf("onnx:digits/1")
        async with running(shelf, tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            shelf.put("onnx:digits/1", "xgboost:cancer/1")
            await router.until(lambda: router.states().get("cancer/1") == "READY")
            niceness = {name: session_nice(pid) for name, pid in agent.pids.items()}
            assert niceness == {"onnx-1": 0, "xgboost-1": 15}

    asyncio.run(scenario())


def test_new_version_appears_and_old_one_goes(tmp_path):
    """What is added loads in another process, what is removed drains, without touching the rest."""

    async def scenario():
        shelf = Shelf("onnx:digits/1")
        async with running(shelf, tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            first = agent.pids["onnx-1"]
            shelf.put("onnx:digits/1", "onnx:digits/2")
            await router.until(lambda: router.states() == {"digits/1": "READY", "digits/2": "READY"})
            assert agent.pids["onnx-1"] == first
            shelf.put("onnx:digits/2")
            await router.until(lambda: router.states() == {"digits/2": "READY"})
            await gone(first)

    asyncio.run(scenario())


def test_killed_worker_is_started_again(tmp_path):
    """SIGKILL of a worker is seen at once, reported, and undone."""

    async def scenario():
        async with running(Shelf("onnx:digits/1"), tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            os.kill(agent.pids["onnx-1"], signal.SIGKILL)
            await router.until(lambda: router.states() == {"digits/1": "LOADING"})
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            assert sorted(agent.pids) == ["onnx-2"]

    asyncio.run(scenario())


def test_culprit_is_isolated_and_given_up(tmp_path):
    """A version that kills its process three times is FAILED with the signal; its neighbours serve."""

    async def scenario():
        async with running(Shelf("onnx:a/crash", "onnx:b/1", "onnx:c/bad"), tmp_path) as (agent, router):
            expected = {"a/crash": "FAILED", "b/1": "READY", "c/bad": "FAILED"}
            await router.until(lambda: router.states() == expected)
            reasons = {version.spec.name: version.reason for version in agent.index}
            assert reasons["a"] == "its worker died 3 times in a row while loading it: killed by SIGSEGV"
            assert reasons["c"] == "this one is bad"

    asyncio.run(scenario())


def test_hanging_load_and_stubborn_worker_are_killed(tmp_path):
    """Neither a load without progress nor a worker that does not drain can hold the agent up."""

    async def scenario():
        supervise = QUICK.model_copy(update={"load_attempts": 1, "load_timeout_s": 2.0})
        async with running(Shelf("onnx:a/hang", "echo:b/stubborn"), tmp_path, supervise) as (agent, router):
            await router.until(lambda: router.states() == {"a/hang": "FAILED", "b/stubborn": "READY"})
            pid = agent.pids["echo-1"]
        await gone(pid)

    asyncio.run(scenario())


def test_a_status_line_without_end_is_passed_over(tmp_path):
    """A worker that says too much at once is still read to the end, so it neither blocks nor is lost."""

    async def scenario():
        async with running(Shelf("onnx:a/wordy"), tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"a/wordy": "FAILED"})
            assert agent.index[0].reason == "too many words"

    asyncio.run(scenario())


def test_a_worker_whose_life_breaks_off_is_not_a_ghost(tmp_path, monkeypatch):
    """Whatever goes wrong around a process, supervision learns that it is gone."""

    async def scenario():
        async def run(child):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(Child, "run", run)
        async with FakeRouter(tmp_path / "link.sock") as router:
            settings = AgentSettings(routers=(router.address,), run_folder=str(tmp_path / "run"), supervise=QUICK)
            agent = Agent(settings, scan=Shelf("onnx:digits/1").scan, command=COMMAND)
            life = asyncio.create_task(agent.run())
            await router.until(lambda: router.states() == {"digits/1": "FAILED"})
            agent.stop()
            await asyncio.wait_for(life, 15)

    asyncio.run(scenario())


def test_a_link_that_breaks_down_ends_the_agent(tmp_path, monkeypatch):
    """An agent whose link died of a fault would run on unseen by any router; it ends with that fault instead."""

    async def scenario():
        async def run(link):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(RouterLink, "run", run)
        settings = AgentSettings(routers=("unix:nowhere",), run_folder=str(tmp_path / "run"), supervise=QUICK)
        agent = Agent(settings, scan=Shelf("onnx:digits/1").scan, command=COMMAND)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await asyncio.wait_for(agent.run(), 15)
        assert agent.pids == {}

    asyncio.run(scenario())


def test_operator_wishes_are_fulfilled_and_answered(tmp_path):
    """Unload, load, an unknown model and a configuration: each gets its own answer."""

    async def scenario():
        def control(number: int, action: int, name: str, config: str = "") -> None:
            wish = link_pb2.Control(id=number, action=action, name=name, config=config)
            router.send(link_pb2.Envelope(control=wish))

        def answers() -> dict[int, int]:
            return {result.id: result.status for result in router.of("control_result")}

        async with running(Shelf("onnx:digits/1"), tmp_path) as (_, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            control(1, link_pb2.ACTION_UNLOAD, "digits")
            await router.until(lambda: answers() == {1: Status.OK})
            assert router.states() == {"digits/1": "UNAVAILABLE"}
            control(2, link_pb2.ACTION_LOAD, "digits")
            await router.until(lambda: answers().get(2) == Status.OK)
            assert router.states() == {"digits/1": "READY"}
            control(3, link_pb2.ACTION_LOAD, "nosuch")
            control(4, link_pb2.ACTION_LOAD, "digits", '{"max_batch_size": 4}')
            await router.until(lambda: len(answers()) == 4)
            assert answers()[3] == Status.NOT_FOUND
            assert answers()[4] == Status.UNIMPLEMENTED

    asyncio.run(scenario())


def test_link_is_dialled_again_and_told_everything(tmp_path):
    """After a router hung up, said goodbye or broke the protocol, the agent is back with the whole index."""

    async def scenario():
        async with running(Shelf("onnx:digits/1"), tmp_path) as (_, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            for number, reason in ((2, ""), (3, "moving house")):
                router.frames.clear()
                await router.hang_up(reason)
                await router.until(
                    lambda n=number: len(router.hellos) == n and router.states() == {"digits/1": "READY"}
                )
            router.frames.clear()
            router.send_raw(b"\x01\x00\x00\x00\x00\x00\x00\x00")
            await router.until(lambda: len(router.hellos) == 4 and router.states() == {"digits/1": "READY"})
            assert "does not fit" in router.of("goodbye")[0].reason

    asyncio.run(scenario())


def test_heartbeats_are_answered(tmp_path):
    """The reply carries the same number."""

    async def scenario():
        async with running(Shelf("onnx:digits/1"), tmp_path) as (_, router):
            await router.until(lambda: bool(router.states()))
            router.send(link_pb2.Envelope(heartbeat=link_pb2.Heartbeat(sequence=77)))
            await router.until(lambda: bool(router.of("heartbeat")))
            assert (router.of("heartbeat")[0].sequence, router.of("heartbeat")[0].reply) == (77, True)

    asyncio.run(scenario())


def test_repository_that_goes_away_takes_nothing_with_it(tmp_path):
    """While it cannot be listed what was seen holds; the fault is shown and goes when it is back."""

    async def scenario():
        shelf = Shelf("onnx:digits/1")
        async with running(shelf, tmp_path) as (agent, router):
            await router.until(lambda: router.states() == {"digits/1": "READY"})
            shelf.fault = "the disk is gone"
            await asyncio.wait_for(agent.changed(), 15)
            assert "the disk is gone" in agent.repository_fault
            assert [version.state for version in agent.index] == ["READY"]
            shelf.fault = ""
            await asyncio.wait_for(agent.changed(), 15)
            assert agent.repository_fault == ""

    asyncio.run(scenario())


def test_worker_that_cannot_be_started_is_reported(tmp_path):
    """A command that does not exist is a reason, not a crash of the agent."""

    async def scenario():
        async with FakeRouter(tmp_path / "link.sock") as router:
            settings = AgentSettings(routers=(router.address,), run_folder=str(tmp_path / "run"), supervise=QUICK)
            agent = Agent(settings, scan=Shelf("onnx:digits/1").scan, command=("/no/such/python",))
            life = asyncio.create_task(agent.run())
            await router.until(lambda: router.states() == {"digits/1": "FAILED"})
            assert agent.index[0].reason.endswith("exited with code 127")
            agent.stop()
            await asyncio.wait_for(life, 15)

    asyncio.run(scenario())


def test_workers_end_when_their_agent_is_killed(tmp_path):
    """The workers' standard input ends with the agent, whatever ended it, and so do they."""
    script = f"""
import asyncio
from serving.agent.agent import Agent
from serving.agent.plan import Found
from serving.agent.settings import AgentSettings
from serving.spec import ModelSpec

async def main():
    agent = Agent(
        AgentSettings(run_folder={str(tmp_path)!r}),
        scan=lambda: [Found(ModelSpec("digits", "1"), "onnx", "1")],
        command={COMMAND!r},
    )
    life = asyncio.create_task(agent.run())
    while not agent.settled or not agent.pids:
        await agent.changed()
    print(agent.pids["onnx-1"], flush=True)
    await life

asyncio.run(main())
"""

    async def scenario():
        agent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        assert agent.stdout is not None
        worker = int(await asyncio.wait_for(agent.stdout.readline(), 15))
        os.kill(worker, 0)
        agent.kill()
        await agent.wait()
        await gone(worker)

    asyncio.run(scenario())
