"""Refusals that stand: while there is too much work, one decision answers all requests alike.

Admission (router/policy/admission.py) says when a request would be answered. Until work is finished, cancelled or
expired, or a replica or room at one is added, it can only say the same, or worse, of the next request like it: as
urgent, of the same tenant, as large, with as much time. So the decision is made once and repeated to every further
request that is like the first, before anything is decoded or made for it. When it lapses, because something has changed
for the better, it is made anew for such a request, the first time that one asks.

Why it matters: offered twice its capacity C, a router that takes s seconds of CPU to serve a request and r to refuse
one, both on the same core, serves G a second with G s + (2 C - G) r = 1, so

    G = (1 - 2 C r) / (s - r),    with C = 1 / s:    G / C = (1 - 2 r/s) / (1 - r/s)

This is 0.33 where refusing costs 0.4 of serving, nothing at all from 0.5 on (what comes then waits in the sockets'
buffers, where nobody can see that its time is over), 0.89 at a tenth, and 0.95 at a twentieth.

Invariants: between two changes it is decided once; what was decided before a change is repeated to nobody after it; a
decision that nothing ends, ends after LONGEST_S.

What it does not do: foresee that a request with less time, or of a lower priority, would be refused as well. Each kind
is judged for itself. And where the answers of a version may be shared nothing stands, for one may have been kept.
"""

from collections.abc import Callable
from typing import Final

from serving.errors import Shed

LONGEST_S: Final = 0.01
"""Much longer than results take to come while there is too much work."""


class Changes:
    """How often the state of a version has changed for the better."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Standing:
    """One such refusal. Times are event-loop time, seconds."""

    __slots__ = ("_changes", "_count", "_error", "_judge", "_repeats", "_seen", "_until", "allowed_s")

    def __init__(
        self,
        allowed_s: float,
        changes: Changes,
        judge: Callable[[float, float], Shed | None],
        count: Callable[[], None],
    ) -> None:
        """`allowed_s`: the time that a request like it has when it comes; `changes` are those of its version; `judge`,
        given the time and `allowed_s`, says why it is refused now, or None; `count` is called for each repetition."""
        self.allowed_s = allowed_s
        self._changes = changes
        self._seen = -1
        self._judge = judge
        self._count = count
        self._error: Shed | None = None
        self._until = 0.0
        self._repeats = 0

    def refusal(self, now: float) -> Shed | None:
        """The answer to a request like it that comes now; None if it is admitted."""
        if self._seen != self._changes.count or now >= self._until:
            self._error = self._judge(now, self.allowed_s)
            self._seen = self._changes.count
            self._until = now + LONGEST_S
        return self._error

    def repeat(self) -> int:
        """Count one more; returns how many there have been."""
        self._count()
        self._repeats += 1
        return self._repeats
