"""The end of a connection that we end: its peer gets to read what we said last.

A socket that is closed while bytes lie in it unread is reset, and a reset destroys at the other end what was not yet
read there: the GOAWAY with its reason, or the end of the last reply. So the last bytes are followed by the end of our
direction only, and what the peer still sends is thrown away, for a bounded time and a bounded number of bytes, until it
has closed its direction too. A peer that goes on sending without end, or never closes, is cut off all the same.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from router.http2.limits import Http2Limits


class Parting(asyncio.Protocol):
    """Takes the transport over from the protocol it had; `lost` hears of the end of it."""

    def __init__(
        self,
        transport: asyncio.Transport,
        limits: Http2Limits,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._loop = loop
        self._lost = lost
        self._bytes_left = limits.linger_bytes
        self._buffered = transport.get_write_buffer_size()
        self._moved_at = loop.time()
        transport.set_protocol(self)
        if transport.can_write_eof():  # TLS cannot; its peer has the GOAWAY to go by
            with suppress(OSError):  # a peer that has reset the connection hears nothing; we hear of it in a moment
                transport.write_eof()
        if not transport.is_reading():
            transport.resume_reading()
        self._timer = loop.call_later(limits.linger_s, self._look)

    def data_received(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._lost(exc)

    def abort(self) -> None:
        self._transport.abort()

    def _look(self) -> None:
        """Still there: wait on while the peer takes what is left for it, but no longer."""
        now, buffered = self._loop.time(), self._transport.get_write_buffer_size()
        if buffered < self._buffered:
            self._moved_at = now
        self._buffered = buffered
        if not buffered:
            self._transport.close()
        elif now - self._moved_at > self._limits.write_stall_s:
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(self._limits.linger_s, self._look)
