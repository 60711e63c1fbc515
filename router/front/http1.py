"""One HTTP/1.1 connection of the REST listener: uvicorn's protocol class, with what it leaves out.

That is: limits on connections and heads, an end for callers that stop sending a head or stop reading a reply, refusals
in JSON, and requests that offer an upgrade nobody takes.
"""

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from router.settings import Limits, Rest

_LINGER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the listener waits for callers, in seconds."""

    keep_alive_s: int = 75
    """For the next request of an idle connection: longer than pools of clients and proxies keep theirs (mostly 60)."""
    head_s: float = 20.0
    """For the rest of a request's head, from its first bytes."""
    stall_s: float = 30.0
    """For a caller to read something of a reply that waits for it."""
    handshake_s: float = 10.0
    """For TLS."""
    ending_s: float = 1.0
    """For endpoints to end once their connection was cut in a drain."""

    @classmethod
    def of(cls, rest: Rest) -> Self:
        """From the settings a user sees."""
        return cls(rest.keep_alive_s, rest.head_timeout_s, rest.write_stall_s, rest.handshake_timeout_s)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Http1Connection(HttpToolsProtocol):
    def __init__(self, limits: Limits, patience: Patience, on_lost: Callable[[], None], **arguments: Any) -> None:
        """`arguments` are uvicorn's: config, server_state, app_state."""
        super().__init__(**arguments)
        self._limits = limits
        self._patience = patience
        self._on_lost = on_lost
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None
        self._unread = 0
        self._refused = _Refused(400, "malformed HTTP request")
        self._deaf = False

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit = self._limits.max_connections
        if len(self.connections) > limit:
            self._write_refusal(503, f"router.limits.max_connections is {limit}; try again, or raise the setting")
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._on_lost()

    # Requests.

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refused.status, str(self._refused))
        else:
            if self._in_head:
                self._await_head(len(data))

    def _without_upgrade(self, rest: bytes) -> None:
        """Java's HttpClient offers h2c with its first request. HTTP lets a server go on as if it had not, but the
        parser takes the body for the other protocol; so the head is fed once more, without the offer."""
        lines = [b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection" and b"close" in value.lower():
                lines.append(b"connection: close\r\n")
            elif name not in (b"upgrade", b"http2-settings", b"connection"):
                lines.append(b"%s: %s\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((*lines, b"\r\n", rest)))

    def _await_head(self, size: int) -> None:
        """The head is not complete yet: bound what is buffered of it, and the time it may take."""
        if self._head_timer is None:
            # What came with its first bytes may be the end of the request before; it counts from the second piece.
            text = "the head of the request took too long"
            self._head_timer = self.loop.call_later(self._patience.head_s, self._refuse, 408, text)
            return
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            self._refuse(431, self._head_limit())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_header_bytes:
            self._refused = _Refused(431, self._head_limit())
            raise self._refused
        if self._offers_upgrade():
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_message_complete()

    def _offers_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_limit(self) -> str:
        return f"the head is too large, router.limits.max_header_bytes is {self._limits.max_header_bytes}"

    # Replies.

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and end the connection. In the middle of another reply there is nothing to
        say. What the caller still sends is let pass for a moment: closing at once would make its system drop the
        answer before it was read."""
        self._deaf = True
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        self._write_refusal(status, message)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._head_timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _write_refusal(self, status: int, message: str) -> None:
        body = orjson.dumps({"error": message})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        head += b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", body)))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(self._patience.stall_s, self._check_reading)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _check_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread >= self._unread:
            self.transport.abort()
            return
        self._unread = unread
        self._stall_timer = self.loop.call_later(self._patience.stall_s, self._check_reading)
