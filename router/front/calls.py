"""The contract between a gRPC front and the edges behind it. Two fronts fulfil it: `http2` (ours) and `grpcio`.

A front owns connections, framing, compression, metadata and deadlines on the wire. An edge owns the meaning of the
message bytes. Between them stands a table `path -> Unary | Stream`; a path that is missing is answered UNIMPLEMENTED
by the front, naming the path.

Unary calls are the hot path: the edge is a plain function, called from the front's `data_received`, and answers through
the call, at once or later. Exactly one of `reply` and `fail` takes effect; both are silently ignored after the caller
has gone. A function that raises DodonaError is as good as one that calls `fail`; any other exception becomes INTERNAL.

Streaming calls are coroutines that the front owns and cancels when the caller goes away.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.errors import DodonaError

# Lower-case name and value; values of names that end in "-bin" are bytes, decoded from base64.
Metadata = Sequence[tuple[str, str | bytes]]


# What a caller sent; a large one may be a read-only view.
Message = bytes | memoryview


class Call(Protocol):
    @property
    def path(self) -> str: ...

    @property
    def metadata(self) -> Metadata:
        """What the caller sent, without pseudo headers, `grpc-*`, content-type and te."""

    @property
    def deadline(self) -> float | None:
        """Event-loop time (seconds) from the caller's grpc-timeout; None if it sent none. The front answers
        DEADLINE_EXCEEDED by itself when it passes and then calls `on_cancel`."""

    @property
    def peer(self) -> str:
        """Address of the caller, for logs."""


class UnaryCall(Call, Protocol):
    message: Message
    on_cancel: Callable[[], None] | None
    """Set by the edge: called once if the caller goes away or its deadline passes before the answer."""

    def reply(self, message: bytes, metadata: Metadata = ()) -> None:
        """Answer OK; `metadata` goes out as initial metadata."""

    def fail(self, error: DodonaError, metadata: Metadata = ()) -> None:
        """Answer with the error's status and text; a retry delay goes out as `retry-after-ms` trailer."""


class StreamCall(Call, Protocol):
    def __aiter__(self) -> AsyncIterator[Message]:
        """The caller's messages; ends when it half-closes."""

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the caller's flow-control window is closed."""


@dataclass(frozen=True, slots=True)
class Unary:
    start: Callable[[UnaryCall], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """Any of the streaming kinds. Returning ends the call with OK, raising DodonaError with its status."""

    run: Callable[[StreamCall], Awaitable[None]]


Methods = Mapping[str, Unary | Stream]


class Front(Protocol):
    """A listening gRPC server."""

    async def start(self) -> str:
        """Listen; returns the bound address "host:port". Raises OSError."""

    async def drain(self, grace_s: float) -> None:
        """Stop accepting, tell peers (GOAWAY), let calls in progress finish within `grace_s`, then close."""
