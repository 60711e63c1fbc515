"""Whether an event loop with nothing to do should look for work for a while before it sleeps.

A process that sleeps pays for being woken: an interrupt to a halted processor, the scheduler, cold caches. On a virtual
machine that is 30 to 100 us, several times what a request costs, and a request that travels alone pays it four times.
A loop that spins instead pays with processor time that nobody else can use. Spinning as long as a wake-up costs, then
sleeping, is never more than twice as dear as the best choice in hindsight (Karlin, Li, Manasse and Owicki, "Empirical
studies of competitive spinning for a shared-memory multiprocessor", 1991); Linux's halt polling does it for guests.

This policy is more careful, because other processes may want the processor: it spins only while nearly all of the last
pauses were shorter than it is willing to spin. A caller that sends one request after another is such a case; requests
that come at random have to come so often that the loop hardly sleeps anyway.

    share += (short - share) / 16        short: 1 if this pause was within the limit, else 0
    spin  <=> share >= 0.9

Invariants: a limit of 0 never spins; nor does a loop with two long pauses in a row, or with one in six; one in which
nothing happens any more has spun for one limit, once. What it does not do: ask whether others wait for the processor;
whoever spins lets them run in between (serving/spinning.py).
"""

from typing import Final

_WEIGHT: Final = 1 / 16
_ENOUGH: Final = 0.9


class Spinning:
    """`limit_s`: the longest time to spin, seconds."""

    __slots__ = ("_limit_s", "_share")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._share = 0.0

    def paused(self, seconds: float) -> float:
        """There was work again after so long without any. Returns how long to spin when it is done, seconds."""
        self._share += ((seconds < self._limit_s) - self._share) * _WEIGHT
        return self._limit_s if self._share >= _ENOUGH else 0.0


def spin_limit_s(asked_s: float, cores: float) -> float:
    """Of one process: nothing where a single processor has to do all the work. `cores`: see serving.cores."""
    return asked_s if cores >= 2 else 0.0
