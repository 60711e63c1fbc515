"""One request on its connection, as the edge sees it. The contract is router.front.exchange."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from router.http1.heads import Head
from serving.errors import DodonaError

log = logging.getLogger(__name__)


class Carrier(Protocol):
    """The connection that carries an exchange."""

    def answer(self, exchange: "Http1Exchange", status: int, lines: bytes, body: bytes) -> None:
        """Write the answer, and go on to what the caller sent next."""

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that the listener awaits when it ends."""


class Http1Exchange:
    __slots__ = ("_carrier", "_task", "body", "fault", "head", "on_cancel", "opened_at")

    def __init__(self, carrier: Carrier, head: Head, body: bytes, fault: DodonaError | None, opened_at: float) -> None:
        self.head = head
        self.body = body
        self.fault = fault
        self.opened_at = opened_at
        self.on_cancel: Callable[[], None] | None = None
        self._carrier: Carrier | None = carrier
        self._task: asyncio.Task[None] | None = None

    def reply(self, status: int, lines: bytes, body: bytes) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            # The edge puts the way back to this exchange in there: such a circle would live until a garbage collection.
            self.on_cancel = None
            carrier.answer(self, status, lines, body)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._carrier is None:
            work.close()
            return
        self._task = self._carrier.run(work)

    def gone(self) -> None:
        """The caller went away: stop the work."""
        self._carrier = None
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            try:
                on_cancel()
            except Exception:
                log.exception("on_cancel raised", extra={"path": self.head.path})
        if self._task is not None:
            self._task.cancel()
