"""When a process that died is started again.

The first time at once enough that callers hardly notice, then ever less often: the delay doubles from FIRST_S to
LONGEST_S, and starts over once a process has lived for HEALTHY_AFTER_S. There is no verdict: what has served once is
restarted for ever. What it does not do: judge a process that never got as far as serving; that is the shell's.
"""

from typing import Final

FIRST_S: Final = 0.1
LONGEST_S: Final = 10.0
HEALTHY_AFTER_S: Final = 30.0


class Restarts:
    """Of one process. `lived_s`: seconds between its start and its death."""

    __slots__ = ("_deaths",)

    def __init__(self) -> None:
        self._deaths = 0

    def delay_s(self, lived_s: float) -> float:
        """Seconds to wait before the next start. To be asked once a death."""
        if lived_s >= HEALTHY_AFTER_S:
            self._deaths = 0
        delay_s = FIRST_S * 2.0 ** min(self._deaths, 32)
        self._deaths += 1
        return min(delay_s, LONGEST_S)
