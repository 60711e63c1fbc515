"""Wishes of operators (load, unload), passed to the agents that can fulfil them.

An agent answers once the outcome is known. A model is in one repository, so the first agent that knows its name, or
that can load it, settles the wish; if none can, the clearest refusal is the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from protos import link_pb2
from serving.errors import DeadlineExceeded, DodonaError, Unavailable, from_status
from serving.link.framing import encode
from serving.status import Status

OUTCOME_TIMEOUT_S: Final = 300.0

Write = Callable[[list[bytes | memoryview]], None]


class Operators:
    """`settled` is awaited before a wish counts as fulfilled: then every process of the router knows of it."""

    def __init__(self) -> None:
        self.settled: Callable[[], Awaitable[None]] = _at_once
        self._agents: dict[str, Write] = {}
        self._waiting: dict[int, tuple[str, asyncio.Future[link_pb2.ControlResult]]] = {}
        self._ids = count(1)

    @property
    def agents(self) -> int:
        """How many are connected."""
        return len(self._agents)

    def joined(self, agent: str, write: Write) -> None:
        self.left(agent)  # one that dials again has forgotten what its earlier connection was asked
        self._agents[agent] = write

    def left(self, agent: str) -> None:
        """The agent has gone; wishes that wait for it fail as UNAVAILABLE."""
        self._agents.pop(agent, None)
        for name, future in list(self._waiting.values()):
            if name == agent and not future.done():
                future.set_exception(Unavailable(f"agent {agent} has gone before it could say the outcome"))

    def outcome(self, result: link_pb2.ControlResult) -> None:
        _, future = self._waiting.get(result.id, ("", None))
        if future is not None and not future.done():
            future.set_result(result)

    async def load(self, name: str, config: str = "") -> None:
        """(Re)load a model; returns when it is ready. `config`: JSON of inference.ModelConfig, empty = its own.
        Raises ModelNotFound, Unavailable (no agent), or the reason it could not be loaded."""
        await self._settle(link_pb2.Control(action=link_pb2.ACTION_LOAD, name=name, config=config))

    async def unload(self, name: str) -> None:
        """Drain a model and free its memory. Raises ModelNotFound, Unavailable."""
        await self._settle(link_pb2.Control(action=link_pb2.ACTION_UNLOAD, name=name))

    async def _settle(self, wish: link_pb2.Control) -> None:
        if not self._agents:
            raise Unavailable("no agent is connected that could load models", remedy="`dodona status` shows who is")
        refusal: DodonaError | None = None
        for agent, write in list(self._agents.items()):
            result = await self._ask(agent, write, wish)
            if result.status == Status.OK:
                await self.settled()
                return
            if refusal is None or refusal.status is Status.NOT_FOUND:
                refusal = from_status(result.status, result.message)
        if refusal is not None:
            raise refusal

    async def _ask(self, agent: str, write: Write, wish: link_pb2.Control) -> link_pb2.ControlResult:
        number = next(self._ids)
        future: asyncio.Future[link_pb2.ControlResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (agent, future)
        try:
            copy = link_pb2.Control(id=number, action=wish.action, name=wish.name, config=wish.config)
            write(encode(link_pb2.Envelope(control=copy)))
            return await asyncio.wait_for(future, OUTCOME_TIMEOUT_S)
        except TimeoutError:
            raise DeadlineExceeded(f"agent {agent} did not say the outcome within {OUTCOME_TIMEOUT_S:g} s") from None
        finally:
            del self._waiting[number]


async def _at_once() -> None:
    return
