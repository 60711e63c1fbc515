"""One call's state on its connection, and what the connection tells its owner."""

from collections import deque
from dataclasses import dataclass

from router.http2.errors import RemoteError
from router.http2.grpc_message import Message, MessageReader, Packed
from router.http2.request import RequestHead


class Stream:
    """Made for every request, so it is slotted and keeps what few calls need (`reader`, `outbox`) behind None."""

    __slots__ = (
        "buffered",
        "call",
        "closed",
        "head",
        "head_sent",
        "id",
        "message",
        "opened_at",
        "outbox",
        "reader",
        "receive_window",
        "received",
        "remote_closed",
        "send_window",
        "unread",
    )

    def __init__(self, stream_id: int, head: RequestHead, send_window: int, receive_window: int, now: float) -> None:
        self.id = stream_id
        self.head = head
        self.send_window = send_window
        self.receive_window = receive_window
        self.opened_at = now
        self.call: object | None = None
        """Free for the owner of the connection; never touched here."""
        self.closed = False
        self.remote_closed = False
        self.head_sent = False
        self.outbox: Outbox | None = None
        self.reader: MessageReader | None = None
        self.message: Packed | None = None
        """The message of a unary request whose end has not come yet."""
        self.received = 0
        """DATA bytes without padding, to compare with content-length."""
        self.unread = 0
        """Bytes of whole messages that the owner has not consumed; they hold the receive window shut."""
        self.buffered = 0
        """Bytes counted against max_buffered_bytes."""


class Outbox:
    """DATA that waits for the peer's windows, and the trailers behind it."""

    __slots__ = ("_chunks", "_seen_at", "_seen_size", "size", "trailers")

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()
        self._seen_at = 0.0
        self._seen_size = 0
        self.size = 0
        self.trailers: bytes | None = None

    def put(self, chunk: bytes) -> None:
        if chunk:
            self._chunks.append(memoryview(chunk))
            self.size += len(chunk)

    def cut(self, size: int) -> list[memoryview]:
        """Take the first `size` bytes, at most `self.size`."""
        self.size -= size
        parts = []
        while size:
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            parts.append(chunk)
            size -= len(chunk)
        return parts

    def unmoved_s(self, now: float) -> float:
        """Seconds since this was first asked without anything having moved since."""
        if self.size != self._seen_size:
            self._seen_size = self.size
            self._seen_at = now
        return now - self._seen_at


@dataclass(slots=True)
class UnaryArrived:
    """A unary request, whole."""

    stream: Stream
    message: Message


@dataclass(slots=True)
class UnaryPacked:
    """A unary request, whole, whose compressed message is too large to be inflated at once: `unpack` it elsewhere."""

    stream: Stream
    packed: Packed


@dataclass(slots=True)
class CallOpened:
    """A streaming call begins."""

    stream: Stream


@dataclass(slots=True)
class MessageArrived:
    """A message of a streaming call; unpack it when it is read, then say `consumed`."""

    stream: Stream
    packed: Packed


@dataclass(slots=True)
class HalfClosed:
    """The caller of a streaming call will send no more."""

    stream: Stream


@dataclass(slots=True)
class CallGone:
    """The caller cancelled, or was reset or refused for a fault; nothing can be answered any more."""

    stream: Stream


@dataclass(slots=True)
class ConnectionFailed:
    """The peer broke the protocol: send what `take` gives (a GOAWAY) and close."""

    error: RemoteError


Event = UnaryArrived | UnaryPacked | CallOpened | MessageArrived | HalfClosed | CallGone | ConnectionFailed
