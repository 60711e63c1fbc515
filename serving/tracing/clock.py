"""From the clock that durations are measured with to the one that spans are dated with."""

from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import Final

Clock = Callable[[], int]
_CLOSE_NS: Final = 20_000
_TRIES: Final = 4


def wall_offset_ns(wall: Clock = time_ns, steady: Clock = monotonic_ns) -> int:
    """Nanoseconds to add to `time.monotonic` for unix time, read anew for every trace because clocks are set.

    The two clocks cannot be read at once; where the thread was interrupted between them they are read again, so that
    the spans of two processes still lie inside one another.
    """
    best = offset = 0
    for attempt in range(_TRIES):
        before = steady()
        now = wall()
        took = steady() - before
        if attempt == 0 or took < best:
            best, offset = took, now - before - took // 2
        if took <= _CLOSE_NS:
            break
    return offset
