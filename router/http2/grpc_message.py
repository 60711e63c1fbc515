"""gRPC's message framing inside DATA: one flag byte, four of length, the message, perhaps gzipped.

What a partial message is kept in, `Body` says. Compressed messages are kept as they came and inflated, within bounds,
only when they are taken.
"""

import zlib
from struct import Struct
from typing import Final

from router.http2.body import Body
from router.http2.limits import Http2Limits
from serving.errors import InternalError, InvalidRequest, TooLarge, above_limit

PREFIX: Final = Struct(">BI")
PREFIX_BYTES: Final = 5
_GZIP_WINDOW_BITS: Final = 31

# A large one is a read-only view.
Message = bytes | memoryview

# (compressed flag, payload) as it came.
Packed = tuple[int, Message]


class MessageReader:
    """Cuts the bytes of one call into messages."""

    __slots__ = ("_flag", "_length", "_max_message_bytes", "_prefix", "body")

    def __init__(self, max_message_bytes: int) -> None:
        self._prefix = b""
        self.body: Body | None = None
        """Of the message that has begun."""
        self._flag = self._length = 0
        self._max_message_bytes = max_message_bytes

    def feed(self, payload: memoryview) -> list[Packed]:
        """The messages complete by now. Raises TooLarge, InvalidRequest."""
        messages: list[Packed] = []
        start, end = 0, len(payload)
        while True:
            body = self.body
            if body is None:
                stop = start + PREFIX_BYTES - len(self._prefix)
                self._prefix += payload[start:stop]
                if stop > end:
                    return messages
                start = stop
                body = self.body = self._begin()
            stop = start + body.missing
            if stop > end:
                body.add(payload[start:])
                return messages
            messages.append((self._flag, body.whole(payload[start:stop])))
            self.body = None
            start = stop

    def _begin(self) -> Body:
        flag, length = PREFIX.unpack(self._prefix)
        self._prefix = b""
        self._flag = flag
        self._length = self._checked(flag, length)
        return Body(length)

    def finish(self) -> None:
        """The caller has sent all. Raises InvalidRequest if it ended within a message."""
        if self.body is not None:
            fault = f"the request ends after {self._length - self.body.missing} of {self._length} message bytes"
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


def unpack_at_once(packed: Packed, encoding: str, limits: Http2Limits) -> Message | None:
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


def unpack(packed: Packed, encoding: str, max_message_bytes: int) -> Message:
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
