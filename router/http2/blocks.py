"""A header block that comes in several frames, and its bounds (the CONTINUATION flood)."""

from router.http2.errors import ErrorCode, RemoteError
from router.http2.limits import Http2Limits


class PartialBlock:
    __slots__ = ("_block", "_continuations", "_limits", "end_stream", "stream_id")

    def __init__(self, stream_id: int, end_stream: int, start: bytes, limits: Http2Limits) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self._block = bytearray()
        self._continuations = -1
        self._limits = limits
        self.add(start)

    def add(self, part: bytes) -> None:
        """Raises RemoteError past the bounds."""
        self._continuations += 1
        self._block += part
        if self._continuations > self._limits.max_continuations:
            raise RemoteError(ErrorCode.ENHANCE_YOUR_CALM, f"more than {self._limits.max_continuations} CONTINUATION")
        check_block(len(self._block), self._limits)

    def whole(self) -> bytes:
        return bytes(self._block)


def check_block(size: int, limits: Http2Limits) -> None:
    """Raises RemoteError for a block above the limit, before it costs anything to decode."""
    if size > limits.max_header_block_bytes:
        raise RemoteError(
            ErrorCode.ENHANCE_YOUR_CALM, f"header block above max_header_block_bytes = {limits.max_header_block_bytes}"
        )
