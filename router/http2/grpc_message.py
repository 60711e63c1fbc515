"""gRPC's message framing inside DATA: one flag byte, four of length, the message, perhaps gzipped.

A partial message is kept in one growing buffer, so that a peer that sends a byte at a time costs no more memory than
one that does not; once whole, that buffer is the message, without another copy. Compressed messages are kept as they
came and inflated, within bounds, only when they are taken.
"""

import zlib
from io import BytesIO
from struct import Struct
from typing import Final

from router.http2.limits import Http2Limits
from serving.errors import InternalError, InvalidRequest, TooLarge, above_limit

PREFIX: Final = Struct(">BI")
PREFIX_BYTES: Final = 5
_GZIP_WINDOW_BITS: Final = 31

# (compressed flag, payload) as it came.
Packed = tuple[int, bytes]


class MessageReader:
    """Cuts the bytes of one call into messages."""

    __slots__ = ("_body", "_flag", "_length", "_max_message_bytes", "_missing", "_prefix")

    def __init__(self, max_message_bytes: int) -> None:
        self._prefix = b""
        self._body: BytesIO | None = None
        self._flag = self._length = self._missing = 0
        self._max_message_bytes = max_message_bytes

    def feed(self, payload: memoryview) -> list[Packed]:
        """The messages complete by now. Raises TooLarge, InvalidRequest."""
        messages: list[Packed] = []
        start, end = 0, len(payload)
        while True:
            if self._body is None:
                stop = start + PREFIX_BYTES - len(self._prefix)
                self._prefix += payload[start:stop]
                if stop > end:
                    return messages
                start = stop
                self._begin()
            body = self._body
            stop = start + self._missing
            if body is None:  # nothing of it has come before
                if stop <= end:
                    messages.append((self._flag, bytes(payload[start:stop])))
                    start = stop
                    continue
                body = self._body = BytesIO()
            body.write(payload[start:stop])
            if stop > end:
                self._missing = stop - end
                return messages
            messages.append((self._flag, body.getvalue()))
            self._body = None
            start = stop

    def _begin(self) -> None:
        flag, length = PREFIX.unpack(self._prefix)
        self._prefix = b""
        self._flag = flag
        self._length = self._missing = self._checked(flag, length)

    def finish(self) -> None:
        """The caller has sent all. Raises InvalidRequest if it ended within a message."""
        if self._body is not None:
            fault = f"the request ends after {self._length - self._missing} of {self._length} message bytes"
        elif self._prefix:
            fault = f"the request ends after {len(self._prefix)} of the {PREFIX_BYTES} bytes of a message prefix"
        else:
            return
        raise InvalidRequest(fault, field="message", remedy="the gRPC frame is truncated, send it in full")

    def _checked(self, flag: int, length: int) -> int:
        if flag > 1:
            raise InvalidRequest(f"compressed flag is {flag}", field="message", remedy="send 0 or 1")
        if length > self._max_message_bytes:
            raise too_large(f"message of {length} bytes", self._max_message_bytes)
        return length


def too_large(what: str, max_message_bytes: int) -> TooLarge:
    return above_limit(what, "router.limits.max_message_bytes", max_message_bytes)


def unpack_at_once(packed: Packed, encoding: str, limits: Http2Limits) -> bytes | None:
    """As `unpack`, but None for a message so large that inflating it would hold up whoever waits."""
    compressed, payload = packed
    if not compressed:
        return payload
    most = limits.inflate_at_once_bytes
    if encoding != "gzip" or limits.max_message_bytes <= most:
        return unpack(packed, encoding, limits.max_message_bytes)
    if len(payload) > most:
        return None
    try:
        return unpack(packed, encoding, most)
    except TooLarge:
        return None


def unpack(packed: Packed, encoding: str, max_message_bytes: int) -> bytes:
    """The message itself; `encoding` is the call's grpc-encoding. Raises TooLarge, InvalidRequest, InternalError."""
    compressed, payload = packed
    if not compressed:
        return payload
    if encoding != "gzip":
        # The protocol fixes this status: a flag without an encoding is a fault of the caller's stack, not its user.
        raise InternalError("compressed flag set, but the call names no grpc-encoding", field="message")
    inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        message = inflater.decompress(payload, max_message_bytes + 1)
    except zlib.error:
        raise InvalidRequest("not valid gzip", field="message", remedy="check grpc-encoding") from None
    if len(message) > max_message_bytes:
        raise too_large("decompressed message", max_message_bytes)
    if not inflater.eof:
        raise InvalidRequest("gzip stream is truncated", field="message", remedy="send it in full")
    return message
