"""The streams of a connection: which are open, which were cut short, and what a frame on any other one means."""

from typing import Final

from router.http2.errors import ErrorCode, RemoteError, RemoteStreamError
from router.http2.streams import Stream

_REMEMBERED: Final = 512


class StreamTable:
    __slots__ = ("_cut_short", "last_id", "open", "refusing")

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self.last_id = 0
        """Highest stream the peer has opened."""
        self.refusing = False
        """No further calls are taken: the final GOAWAY has gone out."""
        # Streams we closed before the caller was done: what is still under way for them is dropped, not a fault.
        self._cut_short: dict[int, None] = {}

    def cut_short(self, stream_id: int) -> None:
        self._cut_short[stream_id] = None
        if len(self._cut_short) > _REMEMBERED:
            del self._cut_short[next(iter(self._cut_short))]

    def expects_strays(self, stream_id: int) -> bool:
        return stream_id in self._cut_short

    def check_not_idle(self, stream_id: int, frame: str) -> None:
        """Raises RemoteError for a stream the peer has not opened yet, or never may."""
        if stream_id > self.last_id or not stream_id & 1:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, f"{frame} on idle stream {stream_id}")

    def check_stray(self, stream_id: int, frame: str) -> None:
        """A frame on a stream that is not open: raises what it deserves, or returns if it is to be dropped."""
        self.check_not_idle(stream_id, frame)
        if stream_id not in self._cut_short:
            raise RemoteStreamError(stream_id, ErrorCode.STREAM_CLOSED, f"{frame} on closed stream {stream_id}")
