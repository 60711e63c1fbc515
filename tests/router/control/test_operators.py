"""Wishes of operators and the agents that fulfil them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from protos import link_pb2
from router.control.operators import Operators
from serving.errors import InvalidRequest, ModelNotFound, Unavailable
from serving.link.framing import FrameReader
from serving.status import Status


class PlayedAgent:
    """Collects what it was asked; the test says the outcome."""

    def __init__(self, operators: Operators, name: str) -> None:
        self.operators = operators
        self.asked: asyncio.Queue[link_pb2.Control] = asyncio.Queue()
        self._frames = FrameReader()
        operators.joined(name, self._write)

    def _write(self, buffers: list[bytes]) -> None:
        for envelope, _ in self._frames.feed(b"".join(buffers)):
            self.asked.put_nowait(envelope.control)

    async def answer(self, status: Status, message: str = "") -> link_pb2.Control:
        wish = await asyncio.wait_for(self.asked.get(), 5)
        self.operators.outcome(link_pb2.ControlResult(id=wish.id, status=status, message=message))
        return wish


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(scenario), 10))


async def _awaited(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()


def test_wish_returns_when_the_agent_says_so() -> None:
    """The name and the configuration travel with it."""

    async def scenario() -> None:
        operators = Operators()
        agent = PlayedAgent(operators, "a")
        wish = asyncio.create_task(operators.load("m", '{"max_batch_size": 4}'))
        asked = await agent.answer(Status.OK)
        await wish
        assert (asked.action, asked.name, asked.config) == (link_pb2.ACTION_LOAD, "m", '{"max_batch_size": 4}')

    play(scenario)


def test_nobody_to_ask() -> None:
    """Without an agent the answer is at once, with where to look."""

    async def scenario() -> None:
        with pytest.raises(Unavailable, match="no agent is connected"):
            await Operators().unload("m")

    play(scenario)


def test_first_agent_that_can_settles_it() -> None:
    """One that does not know the model is passed over; if none can, the most telling refusal is the answer."""

    async def scenario() -> None:
        operators = Operators()
        first, second = PlayedAgent(operators, "a"), PlayedAgent(operators, "b")
        wish = asyncio.create_task(operators.unload("m"))
        await first.answer(Status.NOT_FOUND, "unknown")
        await second.answer(Status.OK)
        await wish
        for statuses, expected in (
            ((Status.NOT_FOUND, Status.INVALID_ARGUMENT), InvalidRequest),
            ((Status.NOT_FOUND, Status.NOT_FOUND), ModelNotFound),
        ):
            wish = asyncio.create_task(operators.unload("m"))
            await first.answer(statuses[0], "unknown")
            await second.answer(statuses[1], "wrong")
            with pytest.raises(expected):
                await wish

    play(scenario)


@pytest.mark.parametrize("how", ["leaves", "dials again"])
def test_agent_that_goes_fails_its_open_wishes(how: str) -> None:
    """A restarted agent has forgotten what the earlier one was asked."""

    async def scenario() -> None:
        operators = Operators()
        agent = PlayedAgent(operators, "a")
        wish = asyncio.create_task(operators.load("m"))
        await agent.asked.get()
        if how == "leaves":
            operators.left("a")
        else:
            PlayedAgent(operators, "a")
        with pytest.raises(Unavailable, match="agent a has gone"):
            await wish

    play(scenario)
