"""The contract between the REST listener and the edge behind it.

The listener owns connections, framing, limits and time; the edge owns the meaning of a request. `Application.start` is
the hot path: a plain function, called from `data_received`, that answers through the exchange, at once or later. What
takes several steps is given to `Exchange.run` as a coroutine, which the listener owns and cancels when the caller goes.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from router.http1.heads import Head
from serving.errors import DodonaError


class Exchange(Protocol):
    head: Head
    body: bytes
    """Whole, at most router.limits.max_message_bytes; not decompressed."""
    fault: DodonaError | None
    """Why there is no body: to be answered with this."""
    opened_at: float
    """When the request began, event-loop time in seconds."""
    on_cancel: Callable[[], None] | None
    """Set by the edge: called once if the caller goes away before the answer. It lets go of it when that is over."""

    def reply(self, status: int, lines: bytes, body: bytes) -> None:
        """Answer; `lines` are header lines with their ends, without Content-Length, Connection and Date. Ignored after
        the first time, and once the caller has gone."""

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the rest of the work as a task; it is cancelled if the caller goes away."""


class Application(Protocol):
    def start(self, exchange: Exchange) -> None:
        """Answer the exchange. Raises nothing."""

    def vet(self, head: Head) -> DodonaError | None:
        """What is wrong with a request whose body is still to come, None if nothing can be told yet."""

    async def close(self) -> None:
        """The listener has ended, and with it every exchange."""
