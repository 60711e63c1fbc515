"""The dialling end of a link against a router's end, on both event loops, over both kinds of socket."""

import asyncio
import logging
from random import Random

import pytest
import uvloop

from protos import link_pb2
from serving.link.client import LinkClient
from serving.link.framing import LinkError
from tests.integration.fake_router import FakeRouter


class Peer:
    """Writes down what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.news = asyncio.Event()
        self.refuse = False

    def hello(self) -> link_pb2.Hello:
        return link_pb2.Hello(protocol_version=1, name="peer", role=link_pb2.ROLE_WORKER)

    def welcomed(self, welcome: link_pb2.Welcome) -> None:
        self._note(f"welcomed by {welcome.router}")

    def received(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        if self.refuse:
            raise LinkError("I will not have it")
        self._note(f"{envelope.WhichOneof('frame')} {bytes(payload)!r}")

    def lost(self, reason: str) -> None:
        self._note(f"lost: {reason}")

    async def until(self, count: int) -> list[str]:
        async def wait() -> None:
            while len(self.events) < count:
                self.news.clear()
                await self.news.wait()

        await asyncio.wait_for(wait(), 15)
        return self.events

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.news.set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_frames_go_both_ways(tmp_path, run):
    """Hello and Welcome, a frame each way, and the end when the task is cancelled."""

    async def scenario():
        async with FakeRouter(tmp_path / "link.sock") as router:
            peer = Peer()
            client = LinkClient(router.address, peer, Random(1))
            assert not client.send(link_pb2.Envelope(draining=link_pb2.Draining()))
            life = asyncio.create_task(client.run())
            assert await peer.until(1) == ["welcomed by fake"]
            assert client.connected
            router.send(link_pb2.Envelope(control=link_pb2.Control(id=1)))
            assert (await peer.until(2))[1] == "control b''"
            assert client.send(link_pb2.Envelope(draining=link_pb2.Draining()))
            await router.until(lambda: len(router.of("draining")) == 1)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            assert not client.connected

    run(scenario())


@pytest.mark.parametrize(("heartbeat_interval_s", "patience"), [(0.01, "0.05"), (0.1, "0.4")])
def test_silent_router_is_left_and_dialled_again(tmp_path, heartbeat_interval_s, patience):
    """A router that says nothing for `silence_s`, or for four of its own heartbeats, counts as lost."""

    async def scenario():
        async with FakeRouter(tmp_path / "link.sock", heartbeat_interval_s=heartbeat_interval_s) as router:
            peer = Peer()
            life = asyncio.create_task(LinkClient(router.address, peer, Random(1), silence_s=0.05).run())
            events = await peer.until(3)
            assert events[1] == f"lost: the router said nothing for {patience} s"
            assert events[2] == "welcomed by fake"
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    asyncio.run(scenario())


def test_a_router_that_stalls_within_a_frame_is_left(tmp_path):
    """Bytes that never make a frame are no sign of life."""

    async def scenario():
        async with FakeRouter(tmp_path / "link.sock", heartbeat_interval_s=0.01) as router:
            peer = Peer()
            life = asyncio.create_task(LinkClient(router.address, peer, Random(1), silence_s=0.2).run())
            await peer.until(1)
            router.send_raw((1000).to_bytes(4, "little") + (10).to_bytes(4, "little"))
            while len(peer.events) < 2:
                router.send_raw(b"x")
                await asyncio.sleep(0.02)
            assert peer.events[1] == "lost: the router said nothing for 0.2 s, it stalls within a frame"
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    asyncio.run(scenario())


def test_peer_may_refuse_a_frame(tmp_path):
    """Its LinkError is said to the router as Goodbye, and the link is dialled anew."""

    async def scenario():
        async with FakeRouter(tmp_path / "link.sock") as router:
            peer = Peer()
            peer.refuse = True
            life = asyncio.create_task(LinkClient(router.address, peer, Random(1)).run())
            await peer.until(1)
            router.send(link_pb2.Envelope(control=link_pb2.Control(id=1)))
            assert (await peer.until(3))[1:] == ["lost: I will not have it", "welcomed by fake"]
            await router.until(lambda: bool(router.of("goodbye")))
            assert router.of("goodbye")[0].reason == "I will not have it"
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    asyncio.run(scenario())


def test_router_that_comes_later_is_found(tmp_path):
    """Until somebody listens the client keeps trying; it waits longer each time, with jitter."""

    async def scenario():
        peer = Peer()
        client = LinkClient(f"unix:{tmp_path / 'link.sock'}", peer, Random(1), max_delay_s=0.05)
        life = asyncio.create_task(client.run())
        await asyncio.sleep(0)
        async with FakeRouter(tmp_path / "link.sock"):
            assert await peer.until(1) == ["welcomed by fake"]
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    asyncio.run(scenario())


def test_an_announced_goodbye_is_no_warning(tmp_path, caplog):
    """A router that ends on purpose, and its absence just after, are told at INFO; one that vanishes is a warning."""
    caplog.set_level(logging.INFO, "serving.link.client")

    async def scenario(goodbye: str) -> list[tuple[str, str]]:
        caplog.clear()
        async with FakeRouter(tmp_path / "link.sock") as router:
            peer = Peer()
            life = asyncio.create_task(LinkClient(router.address, peer, Random(1)).run())
            await peer.until(1)
            (tmp_path / "link.sock").unlink()
            await router.hang_up(goodbye)
            await peer.until(2)
            async with asyncio.timeout(15):
                while len(caplog.records) < 2:
                    await asyncio.sleep(0.01)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        return [(record.levelname, record.__dict__["reason"].partition(":")[0]) for record in caplog.records]

    announced = asyncio.run(scenario("maintenance"))
    assert announced == [("INFO", "the router said goodbye"), ("INFO", "cannot connect")]
    assert asyncio.run(scenario("")) == [("WARNING", "the router closed the connection"), ("WARNING", "cannot connect")]
