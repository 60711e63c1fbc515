import asyncio
from collections.abc import Callable

import pytest

from serving import spinning as module
from serving.policy.spinning import Spinning
from serving.spinning import Spinner, never, spinning


class Loop:
    """Callbacks and a clock, both moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[Callable[[], None]] = []
        self.offered = 0

    def turn(self) -> bool:
        """Run what waits. Returns whether a real loop would poll without sleeping after it."""
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()
        return bool(self.waiting)

    def offer(self) -> None:
        self.offered += 1

    def spinner(self, limit_s: float = 0.5) -> Spinner:
        return Spinner(Spinning(limit_s), self.waiting_soon, lambda: self.now, self.offer)

    def waiting_soon(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)


def test_it_sleeps_until_pauses_are_short_and_then_spins_for_the_limit() -> None:
    """Once warm, a turn without work is followed by another one until the limit is over; others may run in between."""
    loop = Loop()
    spinner = loop.spinner()
    for _ in range(60):
        spinner.woke()
        loop.turn()
        loop.now += 0.25
    assert loop.turn()
    offered = loop.offered
    loop.now += 0.125
    assert loop.turn()
    assert loop.offered == offered + 1
    loop.now += 0.25
    assert not loop.turn()
    assert loop.offered == offered + 1


def test_work_that_comes_together_is_one_waking() -> None:
    """What is read in one turn of the loop says nothing of the pauses between turns."""
    loop = Loop()
    spinner = loop.spinner()
    for _ in range(100):
        spinner.woke()
        assert len(loop.waiting) == 1
    assert not loop.turn()


def test_work_that_is_seldom_costs_one_turn() -> None:
    """A loop that has long pauses is as before."""
    loop = Loop()
    spinner = loop.spinner()
    for _ in range(100):
        loop.now += 1.0
        spinner.woke()
        assert not loop.turn()
    assert not loop.offered


def test_a_loop_polls_without_sleeping_while_it_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real event loop: turns go by although nothing is to be done, and end by themselves."""
    monkeypatch.setattr(module, "usable_cores", lambda: 4.0)
    turns = 0

    def offer() -> None:
        nonlocal turns
        turns += 1

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        spinner = Spinner(Spinning(0.01), loop.call_soon, offer=offer)
        for _ in range(60):
            spinner.woke()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        later = asyncio.Event()
        loop.call_later(0.2, later.set)
        await later.wait()
        assert turns > 60
        before = turns
        await asyncio.sleep(0)
        assert turns == before
        assert spinning(0.001) is not never
        assert spinning(0) is never

    asyncio.run(scenario())


def test_a_single_processor_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever spins there keeps the work from being done."""
    monkeypatch.setattr(module, "usable_cores", lambda: 1.0)
    assert spinning(0.001) is never
