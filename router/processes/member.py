"""One of a router's processes, as its parent and, through it, the others see it. Fulfils `router.whole.Whole`.

A process that replaces one that ended opens its ports only once it has the replicas that the others have: a connection
that the kernel gives it is then served as well as anywhere else.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from prometheus_client.registry import CollectorRegistry

from protos import admin_pb2
from router.core import Core
from router.processes.channel import Channel, Gone, Word, parted
from router.processes.figures import Figures, read
from router.settings import RouterSettings
from router.statistics import Statistics
from serving.spec import ModelSpec

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 5.0
_CATCH_UP_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.05
_READY_EVERY_S: Final = 0.1

Served = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Membership:
    """What a process learns from its parent at its birth."""

    end: socket.socket
    """Its end of the channel."""
    number: int
    replaces: bool
    """Others serve already."""

    def name_of(self, settings: RouterSettings) -> str:
        """In logs and on links."""
        return f"{settings.name}-{self.number}"


class Member:
    """`open` connects it; `core` is read, never changed. `stop` is called when the parent has gone."""

    def __init__(self, core: Core, registry: CollectorRegistry, stop: Callable[[], None]) -> None:
        self.others_ready = False
        self._core = core
        self._registry = registry
        self._stop = stop
        self._told_ready: bool | None = None
        self._channel = Channel(self._answer, self._told)
        self._tasks: list[asyncio.Future[None]] = []

    async def open(self, end: socket.socket) -> None:
        await self._channel.open(end)
        self._channel.gone.add_done_callback(lambda _: self._stop())
        self._tasks.append(asyncio.ensure_future(self._tell_readiness()))

    async def close(self) -> None:
        """Leaves the last figures behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._channel.tell(Word.FIGURES, self._figures().encode())
        self._channel.close()

    def started(self) -> None:
        self._say_ready()  # first, so that a start never makes the whole look unready
        self._channel.tell(Word.STARTED, orjson.dumps(self._core.listeners))

    async def served_as_elsewhere(self) -> None:
        """Returns once this process has every replica and agent that some other one has, or after ten seconds."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _CATCH_UP_S
        while missing := _missing(self._served(), await self._others(Word.SERVED)):
            if loop.time() > give_up_at:
                log.warning("listening without replicas that others have", extra={"missing": missing})
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    # router.whole.Whole

    async def others_status(self) -> Sequence[admin_pb2.StatusResponse]:
        return [admin_pb2.StatusResponse.FromString(body) for body in await self._others(Word.STATUS)]

    async def statistics(self) -> Mapping[ModelSpec, Statistics] | None:
        try:
            return Figures.decode(await self._channel.ask(Word.FIGURES, timeout_s=_PATIENCE_S)).statistics
        except (Gone, TimeoutError):
            return None

    async def caught_up(self) -> None:
        await self._others(Word.TURN)

    # Inside.

    async def _others(self, word: Word) -> list[bytes]:
        try:
            return parted(await self._channel.ask(word, timeout_s=_PATIENCE_S))
        except (Gone, TimeoutError):
            return []

    async def _answer(self, word: Word, _: bytes) -> bytes:
        if word is Word.FIGURES:
            return self._figures().encode()
        if word is Word.STATUS:
            return self._core.status().SerializeToString()
        if word is Word.SERVED:
            return orjson.dumps(self._served())
        # What had arrived before stands in the sockets' buffers; each turn of the loop reads what is there.
        for _turn in range(2):
            await asyncio.sleep(0)
        return b""

    def _told(self, word: Word, body: bytes) -> None:
        if word is Word.READY:
            self.others_ready = body == b"1"

    def _figures(self) -> Figures:
        return read(self._registry, [(pool.spec, pool.statistics) for pool in self._core.catalogue.pools()])

    def _served(self) -> Served:
        replicas = {str(pool.spec): pool.replicas for pool in self._core.catalogue.pools()}
        return {**replicas, "agents": self._core.operators.agents}

    async def _tell_readiness(self) -> None:
        while True:
            self._say_ready()
            await asyncio.sleep(_READY_EVERY_S)

    def _say_ready(self) -> None:
        ready = self._core.ready_itself
        if ready != self._told_ready:
            self._told_ready = ready
            self._channel.tell(Word.READY, b"1" if ready else b"0")


def _missing(own: Served, others: Sequence[bytes]) -> list[str]:
    """Versions with more replicas elsewhere; "agents" where others have more of those."""
    return sorted(
        {spec for body in others for spec, replicas in orjson.loads(body).items() if own.get(spec, 0) < replicas}
    )
