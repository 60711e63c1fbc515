"""What the connections of one HTTP/2 front share; `router.front.http2.Http2Front` is it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from router.front.calls import StreamCall, UnaryCall
from router.front.http2_calls import Http2Call, Http2StreamCall
from router.http2.counters import Counters
from router.http2.grpc_message import Message, Packed
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from router.http2.turnstile import Bars
from serving.spinning import Woke

if TYPE_CHECKING:
    from router.front.http2_connection import Http2Connection


class Listener(Protocol):
    loop: asyncio.AbstractEventLoop
    limits: Http2Limits
    counters: Counters
    heads: HeadReader
    woke: Woke
    """To be called when bytes arrive, before anything else."""
    bars: Bars

    @property
    def unary(self) -> Mapping[str, Callable[[UnaryCall], None]]: ...

    @property
    def streaming(self) -> Mapping[str, Callable[[StreamCall], Awaitable[None]]]: ...

    def admit(self, connection: "Http2Connection") -> bool:
        """Whether there is room for one more connection."""

    def closed(self, connection: "Http2Connection") -> None: ...

    def flush_soon(self, connection: "Http2Connection") -> None:
        """Call `flush` of the connection once in this event-loop turn."""

    def watch(self, call: Http2Call, deadline: float) -> None:
        """Expire the call at its deadline (event-loop seconds)."""

    def settle(self, call: Http2Call) -> None:
        """Forget the call's deadline."""

    def run(self, call: Http2StreamCall, work: Awaitable[None]) -> None:
        """Run a streaming call as a task of the front's."""

    def inflate(self, packed: Packed, encoding: str) -> asyncio.Future[Message]:
        """Undo the compression of a large message, outside the event loop. Raises DodonaError."""

    def chance(self) -> float:
        """A random number 0..1."""

    def turn_is_over(self, began_at: float) -> bool:
        """Whether the event loop's turn that began then (its own time, seconds) has taken long enough."""

    def catch_up_later(self, connection: "Http2Connection") -> None:
        """Call `catch_up` of the connection in a later turn, and again until it returns False."""
