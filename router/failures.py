"""Failed requests in the log: each with its request id, but never so many that logging is the load.

At most `per_second` lines a second; the first line after a silence says how many were left out. Metrics count them all.
"""

import logging
from collections.abc import Callable

from router.request import Inference
from serving.errors import DodonaError
from serving.tracing.context import trace_id_of

log = logging.getLogger(__name__)


class FailureLog:
    """`clock` is event-loop time in seconds."""

    __slots__ = ("_clock", "_left", "_omitted", "_per_second", "_second")

    def __init__(self, clock: Callable[[], float], per_second: int = 50) -> None:
        self._clock = clock
        self._per_second = per_second
        self._second = -1
        self._left = 0
        self._omitted = 0

    def add(self, inference: Inference, error: DodonaError, seconds: float) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._left = second, self._per_second
        if self._left == 0:
            self._omitted += 1
            return
        self._left -= 1
        omitted, self._omitted = self._omitted, 0
        trace_id = trace_id_of(inference.trace.traceparent if inference.trace else inference.traceparent)
        log.info(
            "request failed",
            extra={
                "request_id": inference.request_id,
                "model": str(inference.pool.spec),
                "status": error.status.name,
                "error": str(error),
                "seconds": round(seconds, 6),
                **({"trace_id": trace_id} if trace_id else {}),
                **({"omitted": omitted} if omitted else {}),
            },
        )
