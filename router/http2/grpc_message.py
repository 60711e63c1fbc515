"""gRPC's message framing inside DATA: one flag byte, four of length, the message, perhaps gzipped.

A partial message is kept in one bytearray, so that a peer that sends a byte at a time costs no more memory than one
that does not. Compressed messages are kept as they came and inflated, within bounds, only when they are taken.
"""

import zlib
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

    __slots__ = ("_buffer", "_max_message_bytes", "_need")

    def __init__(self, max_message_bytes: int) -> None:
        self._buffer = bytearray()
        self._need = PREFIX_BYTES
        self._max_message_bytes = max_message_bytes

    def feed(self, payload: memoryview) -> list[Packed]:
        """The messages complete by now. Raises TooLarge, InvalidRequest."""
        buffer = self._buffer
        buffer += payload
        messages: list[Packed] = []
        start = 0
        while len(buffer) - start >= self._need:
            flag, length = PREFIX.unpack_from(buffer, start)
            self._need = PREFIX_BYTES + self._checked(flag, length)
            stop = start + self._need
            if stop > len(buffer):
                break
            with memoryview(buffer) as view:
                messages.append((flag, bytes(view[start + PREFIX_BYTES : stop])))
            start = stop
            self._need = PREFIX_BYTES
        if start:
            del buffer[:start]
        return messages

    def finish(self) -> None:
        """The caller has sent all. Raises InvalidRequest if it ended within a message."""
        have = len(self._buffer)
        if not have:
            return
        if have < PREFIX_BYTES:
            fault = f"the request ends after {have} of the {PREFIX_BYTES} bytes of a message prefix"
        else:
            fault = f"the request ends after {have - PREFIX_BYTES} of {self._need - PREFIX_BYTES} message bytes"
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
