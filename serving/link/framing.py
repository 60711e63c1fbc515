"""Frames of the link, sans I/O: bytes in, frames out. The format stands at the top of protos/link.proto.

A peer that breaks the format, or sends a frame above the limit, is cut off: `LinkError` says why, and the shell sends
it as Goodbye before it closes.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from google.protobuf.message import DecodeError

from protos import link_pb2

PROTOCOL_VERSION: Final = 1
DEFAULT_MAX_FRAME_BYTES: Final = 256 * 1024 * 1024

COLUMNS_BYTES: Final = 1024
"""What one request may add to an envelope: numbers, its request id, its trace context."""

LARGE_BYTES: Final = 64 * 1024
"""From here on it is worth not to copy."""

_HEAD: Final = Struct("<II")


class LinkError(Exception):
    """The peer broke the protocol; the connection cannot go on."""


def encode(envelope: link_pb2.Envelope, payloads: Sequence[bytes | memoryview] = ()) -> list[bytes | memoryview]:
    """The frame as buffers for one `writelines`."""
    head = envelope.SerializeToString()
    size = len(head) + 4 + sum(map(len, payloads))
    return [_HEAD.pack(size, len(head)) + head, *payloads]


def pieces(payload: memoryview, sizes: Sequence[int]) -> list[bytes | memoryview]:
    """As `cut`, but what is large stays a view, which keeps the whole frame alive."""
    if sum(sizes) != len(payload):
        raise LinkError(f"payload of {len(payload)} bytes, sizes add up to {sum(sizes)}")
    parts: list[bytes | memoryview] = []
    start = 0
    for size in sizes:
        part = payload[start : start + size]
        parts.append(part if size >= LARGE_BYTES else bytes(part))
        start += size
    return parts


def cut(payload: memoryview, sizes: Sequence[int]) -> list[bytes]:
    """Cut a payload into its parts. Raises LinkError if the sizes do not add up to it."""
    if sum(sizes) != len(payload):
        raise LinkError(f"payload of {len(payload)} bytes, sizes add up to {sum(sizes)}")
    parts = []
    start = 0
    for size in sizes:
        parts.append(bytes(payload[start : start + size]))
        start += size
    return parts


def portions(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Ranges (start, end) of neighbours whose payloads fit one frame of `limit` bytes with their envelope's columns;
    one that is too large by itself stands alone."""
    ranges: list[tuple[int, int]] = []
    start = used = 0
    for index, size in enumerate(sizes):
        needed = size + COLUMNS_BYTES
        if index > start and used + needed > limit:
            ranges.append((start, index))
            start, used = index, 0
        used += needed
    ranges.append((start, len(sizes)))
    return ranges


class FrameReader:
    """Collects bytes and yields (envelope, payload); the payload is a view, cut it before keeping it for long.

    Chunks are joined only once a whole frame is there, so a large frame costs one copy however it is split.
    """

    __slots__ = ("_chunks", "_have", "_max_frame_bytes", "_need")

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = _HEAD.size
        self._max_frame_bytes = max_frame_bytes

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come to its end."""
        return self._have

    def feed(self, received: bytes) -> Iterator[tuple[link_pb2.Envelope, memoryview]]:
        """Yield every frame that is complete now. Exhaust the iterator before the next call. Raises LinkError."""
        self._have += len(received)
        if self._chunks or self._have < self._need:
            self._chunks.append(received)
            if self._have < self._need:
                return
            received = b"".join(self._chunks)
        view = memoryview(received)
        used = 0
        while (end := used + self._frame_size(received, used)) <= len(received):
            head_end = used + _HEAD.size + _HEAD.unpack_from(received, used)[1]
            yield _parse(received[used + _HEAD.size : head_end]), view[head_end:end]
            used = end
        self._chunks = [received[used:]] if used < len(received) else []
        self._have = len(received) - used
        self._need = end - used

    @property
    def missing(self) -> int:
        """Bytes that a frame which has begun still lacks; what it lacks of its head while that is incomplete."""
        return self._need - self._have

    def unfinished(self, frame: memoryview) -> int:
        """Move the start of the unfinished frame into `frame`; returns how long it is."""
        start = 0
        for chunk in self._chunks:
            frame[start : start + len(chunk)] = chunk
            start += len(chunk)
        self._chunks = []
        self._have = 0
        self._need = _HEAD.size
        return start

    def _frame_size(self, received: bytes, start: int) -> int:
        """Bytes of the frame at `start`, head included; the head's own size while that is incomplete."""
        if len(received) - start < _HEAD.size:
            return _HEAD.size
        size, head_size = _HEAD.unpack_from(received, start)
        if size > self._max_frame_bytes:
            raise LinkError(f"frame of {size} bytes is above link.max_frame_bytes = {self._max_frame_bytes}")
        if head_size + 4 > size:
            raise LinkError(f"envelope of {head_size} bytes does not fit its frame of {size}")
        return int(size) + 4


def whole(frame: memoryview) -> tuple[link_pb2.Envelope, memoryview]:
    """A whole frame as envelope and payload. Raises LinkError."""
    end = _HEAD.size + _HEAD.unpack_from(frame)[1]
    return _parse(bytes(frame[_HEAD.size : end])), frame[end:]


def _parse(head: bytes) -> link_pb2.Envelope:
    try:
        return link_pb2.Envelope.FromString(head)
    except DecodeError as error:
        raise LinkError("frame holds no link envelope") from error
