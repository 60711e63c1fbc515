"""The router's end of the link over real sockets: who is let in, and what becomes of those who misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from protos import link_pb2
from router.compose import compose
from router.core import Core
from router.link.server import LinkServer
from router.pool import Pool
from router.request import Inference
from router.settings import Limits, Link, RouterSettings
from serving.link.framing import FrameReader, encode
from tests.router.cluster import model

HELLO = link_pb2.Hello(protocol_version=1, role=link_pb2.ROLE_WORKER, name="w", framework="echo", token="secret")


class Peer:
    """A worker's end, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader()
        self._waiting: list[link_pb2.Envelope] = []

    def send(self, payload: bytes = b"", **frame: object) -> None:
        self.writer.writelines(encode(link_pb2.Envelope(**frame), [payload]))  # type: ignore[arg-type]

    async def receive(self) -> link_pb2.Envelope | None:
        """The next frame; None when the router hung up."""
        while not self._waiting:
            received = await asyncio.wait_for(self.reader.read(65536), 5)
            if not received:
                return None
            self._waiting += [envelope for envelope, _ in self._frames.feed(received)]
        return self._waiting.pop(0)

    async def work(self) -> list[int]:
        """The ids of the next Work frame."""
        while (envelope := await self.receive()) is not None:
            if envelope.HasField("work"):
                return list(envelope.work.ids)
        raise AssertionError("the router hung up")

    def results(self, answers: Mapping[int, bytes]) -> None:
        results = link_pb2.Results(
            handle=1, ids=answers, sizes=[len(answer) for answer in answers.values()], queue_us=[0] * len(answers)
        )
        self.send(b"".join(answers.values()), results=results)

    async def goodbye(self) -> str:
        """The reason the router gives before it hangs up."""
        reason = ""
        while (envelope := await self.receive()) is not None:
            reason = envelope.goodbye.reason or reason
        return reason


class Bench:
    def __init__(self, core: Core, server: LinkServer, address: str) -> None:
        self.core, self.server, self._address = core, server, address
        self._peers: list[Peer] = []

    async def dial(self) -> Peer:
        peer = Peer(*await asyncio.open_unix_connection(self._address.removeprefix("unix:")))
        self._peers.append(peer)
        return peer

    async def join(self, hello: link_pb2.Hello = HELLO) -> Peer:
        peer = await self.dial()
        peer.send(hello=hello)
        welcome = await peer.receive()
        assert welcome
        assert welcome.HasField("welcome")
        return peer

    def hang_up(self) -> None:
        for peer in self._peers:
            peer.writer.close()


@contextlib.asynccontextmanager
async def bench(tmp_path: Path, **link: object) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    settings = Link(address=f"unix:{tmp_path}/l.sock", token=SecretStr("secret"), **link)  # type: ignore[arg-type]
    core = compose(
        RouterSettings(link=settings, limits=Limits(max_message_bytes=100_000)), clock=loop.time, call_at=loop.call_at
    )
    server = LinkServer("r", settings, core.peers, loop.time)
    made = Bench(core, server, await server.start())
    try:
        yield made
    finally:
        made.hang_up()
        await server.stop()


def play(scenario: Callable[[Bench], Awaitable[None]], tmp_path: Path, **link: object) -> None:
    async def main() -> None:
        async with bench(tmp_path, **link) as made:
            await scenario(made)

    asyncio.run(main())


def test_hello_is_welcomed_and_models_become_callable(tmp_path: Path) -> None:
    """The highest protocol version both speak is the one to use."""

    async def scenario(made: Bench) -> None:
        peer = await made.dial()
        peer.send(hello=link_pb2.Hello(**{**_fields(HELLO), "protocol_version": 99}))
        welcome = await peer.receive()
        assert welcome
        assert welcome.welcome.protocol_version == 1
        peer.send(models=link_pb2.Models(models=[model()]))
        peer.send(heartbeat=link_pb2.Heartbeat(sequence=5))
        answer = await peer.receive()
        assert answer
        assert (answer.heartbeat.sequence, answer.heartbeat.reply) == (5, True)
        assert made.core.catalogue.is_ready("m")

    play(scenario, tmp_path)


def _fields(message: link_pb2.Hello) -> dict[str, object]:
    return {field.name: value for field, value in message.ListFields()}


def test_wrong_token_is_turned_away_with_the_setting_to_look_at(tmp_path: Path) -> None:
    """And nothing of it is shown in the catalogue or the peers."""

    async def scenario(made: Bench) -> None:
        peer = await made.dial()
        peer.send(hello=link_pb2.Hello(**{**_fields(HELLO), "token": "guess"}))
        assert "router.link.token" in await peer.goodbye()
        assert made.core.peers.status(0) == []

    play(scenario, tmp_path)


def test_nothing_is_heard_before_hello(tmp_path: Path) -> None:
    """A peer that skips the introduction is cut off."""

    async def scenario(made: Bench) -> None:
        peer = await made.dial()
        peer.send(models=link_pb2.Models(models=[model()]))
        assert "expected hello, got models" in await peer.goodbye()
        assert not made.core.catalogue.is_ready("m")

    play(scenario, tmp_path)


def test_frame_above_the_limit_closes_the_link_and_names_it(tmp_path: Path) -> None:
    """Before the frame has been received."""

    async def scenario(made: Bench) -> None:
        peer = await made.join()
        peer.writer.write((2_000_000).to_bytes(4, "little") + bytes(4))
        assert "link.max_frame_bytes = 1000000" in await peer.goodbye()

    play(scenario, tmp_path, max_frame_bytes=1_000_000)


def test_frame_of_the_wrong_role_and_garbage_close_the_link(tmp_path: Path) -> None:
    """Each with its reason; the other peers stay."""

    async def scenario(made: Bench) -> None:
        good = await made.join(link_pb2.Hello(**{**_fields(HELLO), "name": "good"}))
        peer = await made.join()
        peer.send(index=link_pb2.Index())
        assert "not for a worker" in await peer.goodbye()
        peer = await made.join()
        peer.writer.write(bytes([14, 0, 0, 0, 10, 0, 0, 0]) + b"\xff" * 10)
        assert "no link envelope" in await peer.goodbye()
        good.send(models=link_pb2.Models(models=[model()]))
        good.send(heartbeat=link_pb2.Heartbeat(sequence=1))
        assert await good.receive()
        assert made.core.catalogue.is_ready("m")

    play(scenario, tmp_path)


def test_unknown_frame_of_a_newer_protocol_is_ignored(tmp_path: Path) -> None:
    """Fields are only ever added, so an old router must live with a new worker."""

    async def scenario(made: Bench) -> None:
        peer = await made.join()
        field_900 = bytes([0xA2, 0x38, 0x02, 0x08, 0x01])
        peer.writer.write((4 + len(field_900)).to_bytes(4, "little") + len(field_900).to_bytes(4, "little") + field_900)
        peer.send(heartbeat=link_pb2.Heartbeat(sequence=3))
        answer = await peer.receive()
        assert answer
        assert answer.heartbeat.sequence == 3

    play(scenario, tmp_path)


def test_peer_that_dials_again_takes_over_from_itself(tmp_path: Path) -> None:
    """Its half-dead connection must not keep serving under the same name."""

    async def scenario(made: Bench) -> None:
        old = await made.join()
        old.send(models=link_pb2.Models(models=[model()]))
        new = await made.join()
        assert "replaced" in await old.goodbye()
        new.send(models=link_pb2.Models(models=[model()]))
        new.send(heartbeat=link_pb2.Heartbeat(sequence=1))
        await new.receive()
        assert [row.name for row in made.core.peers.status(0)] == ["w"]
        assert made.core.catalogue.pool("m").replicas == 1

    play(scenario, tmp_path)


def test_silent_peer_is_given_up(tmp_path: Path) -> None:
    """A worker that hangs without closing its socket loses its place; heartbeats tell."""

    async def scenario(made: Bench) -> None:
        peer = await made.join()
        peer.send(models=link_pb2.Models(models=[model()]))
        while await peer.receive() is not None:
            pass
        assert not made.core.catalogue.is_ready("m")

    play(scenario, tmp_path, heartbeat_interval_s=0.05, heartbeat_timeout_s=0.3)


@pytest.mark.parametrize("trickle", [False, True])
def test_a_peer_that_stalls_within_a_frame_is_given_up(tmp_path: Path, trickle: bool) -> None:
    """Whether it sends nothing more or a byte now and then: it is told why, and its place is free."""

    async def scenario(made: Bench) -> None:
        peer = await made.join()
        peer.send(models=link_pb2.Models(models=[model()]))
        await _replicas(made, 1, windows=False)
        peer.writer.write((1000).to_bytes(4, "little") + (10).to_bytes(4, "little"))
        while made.core.peers.status(0):
            await asyncio.sleep(0.02)
            if trickle and made.core.peers.status(0):
                peer.writer.write(b"x")
        assert "bytes into a frame, router.link.heartbeat_timeout_s is over" in await peer.goodbye()
        assert not made.core.catalogue.is_ready("m")

    play(scenario, tmp_path, heartbeat_interval_s=0.05, heartbeat_timeout_s=0.4)


def test_a_worker_that_answers_twice_late_or_for_others_harms_nobody(tmp_path: Path) -> None:
    """Each caller gets the first answer of the worker it was given to; the window is freed once."""

    async def scenario(made: Bench) -> None:
        one, two = await made.join(), await made.join(link_pb2.Hello(**{**_fields(HELLO), "name": "w2"}))
        for peer in (one, two):
            peer.send(models=link_pb2.Models(models=[model()]))
            peer.send(credit=link_pb2.Credit(handle=1, window_rows=2))
        pool = await _replicas(made, 2)
        replies: list[bytes] = []
        loop = asyncio.get_running_loop()
        for number in range(4):
            inference = Inference(
                message=b"%d" % number,
                pool=pool,
                rows=1,
                deadline=loop.time() + 10,
                on_reply=replies.append,
                on_error=lambda error: replies.append(str(error).encode()),
            )
            made.core.dispatcher.submit(inference)
        given = {1: await one.work(), 2: await two.work()}
        assert sorted(given[1] + given[2]) == [1, 2, 3, 4]
        mine, others = given[1], given[2]
        one.results(dict.fromkeys(others, b"wrong"))  # not its work
        one.results({999: b"wrong"})
        one.results({mine[0]: b"first"})
        one.results({mine[0]: b"second"})
        one.results({mine[1]: b"first", mine[0]: b"third"})
        two.results(dict.fromkeys(others, b"first"))
        one.send(heartbeat=link_pb2.Heartbeat(sequence=7))
        two.send(heartbeat=link_pb2.Heartbeat(sequence=7))
        await one.receive()
        await two.receive()
        assert replies == [b"first"] * 4
        assert [(seat.rows_in_flight, seat.requests) for seat in pool.seats] == [(0, 0), (0, 0)]
        assert made.core.dispatcher.in_flight == 0

    play(scenario, tmp_path, heartbeat_interval_s=60)


async def _replicas(made: Bench, count: int, *, windows: bool = True) -> Pool:
    """The pool of `m` once it has so many replicas, with windows."""
    async with asyncio.timeout(5):
        while True:
            if made.core.catalogue.is_ready("m"):
                pool = made.core.catalogue.pool("m")
                if pool.replicas == count and all(seat.window_rows or not windows for seat in pool.seats):
                    return pool
            await asyncio.sleep(0.01)


def test_socket_is_private_and_left_by_a_killed_router_is_no_obstacle(tmp_path: Path) -> None:
    """Only this user may dial; a stale file is replaced."""
    (tmp_path / "l.sock").write_text("stale")

    async def scenario(made: Bench) -> None:
        assert (tmp_path / "l.sock").stat().st_mode & 0o077 == 0
        await made.join()

    play(scenario, tmp_path)
