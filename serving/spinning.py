"""Spins an event loop between two pieces of work, where the policy says that it pays (serving/policy/spinning.py).

A turn of the loop that finds a callback waiting polls its sockets without sleeping: so spinning is a callback that asks
for itself again. In between it offers the processor to whoever waits for it (sched_yield).
"""

import asyncio
import os
from collections.abc import Callable
from time import perf_counter
from typing import Annotated

from pydantic import Field

from serving.cores import usable_cores
from serving.policy.spinning import Spinning, spin_limit_s

Woke = Callable[[], None]
SpinSeconds = Annotated[float, Field(ge=0, le=0.01)]
"""Of a setting: more than 10 ms would not be looking, but waiting."""


def never() -> None:
    """For a loop that is to sleep whenever it has nothing to do."""


_OFFER: Callable[[], None] = getattr(os, "sched_yield", never)
"""Windows has none."""


class Spinner:
    """One event loop's. `call_soon` is the loop's, `clock` gives seconds, `offer` lets other processes run."""

    __slots__ = ("_call_soon", "_clock", "_left_at", "_offer", "_on", "_policy", "_until", "_woken_at")

    def __init__(
        self,
        policy: Spinning,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = perf_counter,
        offer: Callable[[], None] = _OFFER,
    ) -> None:
        self._policy = policy
        self._call_soon = call_soon
        self._clock = clock
        self._offer = offer
        self._on = False
        self._woken_at = 0.0
        self._left_at = 0.0
        self._until = 0.0

    def woke(self) -> None:
        """Work has arrived: to be called before it is done. Costs next to nothing from the second time in a turn."""
        if not self._woken_at:
            self._woken_at = self._clock()
            if not self._on:
                self._on = True
                self._call_soon(self._turn)

    def _turn(self) -> None:
        now = self._clock()
        if self._woken_at:
            self._until = now + self._policy.paused(self._woken_at - self._left_at)
            self._left_at, self._woken_at = now, 0.0
        if now < self._until:
            self._offer()
            self._call_soon(self._turn)
        else:
            self._on = False


def spinning(asked_s: float) -> Woke:
    """What to call whenever work arrives in the running event loop. `asked_s`: the setting, seconds; 0 = never spin."""
    limit_s = spin_limit_s(asked_s, usable_cores())
    return Spinner(Spinning(limit_s), asyncio.get_running_loop().call_soon).woke if limit_s else never
