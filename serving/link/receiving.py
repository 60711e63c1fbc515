"""Frames of the link from where the kernel puts them: large ones arrive in the memory they stay in.

Sans I/O: a shell asks `buffer` where to read to and says `filled`. Small frames share a buffer and are copied out.
Once the head of a large one is there, memory of its size is made, and the rest of it is read into that. The end of such
a frame, where the last tensor ends, is at a multiple of 64 bytes, so that a runtime can often use the tensor in place.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from protos import link_pb2
from serving.link.framing import DEFAULT_MAX_FRAME_BYTES, LARGE_BYTES, FrameReader, whole

ALIGNMENT: Final = 64
_SHARED_BYTES: Final = 64 * 1024


class Receiver:
    __slots__ = ("_frame", "_have", "_reader", "_shared")

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._reader = FrameReader(max_frame_bytes)
        self._shared = memoryview(bytearray(_SHARED_BYTES))
        self._frame: memoryview | None = None
        self._have = 0

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come to its end."""
        return self._reader.pending if self._frame is None else self._have

    def buffer(self) -> memoryview:
        """Where to read to next."""
        return self._shared if self._frame is None else self._frame[self._have :]

    def filled(self, count: int) -> Iterator[tuple[link_pb2.Envelope, memoryview]]:
        """`count` bytes were read to `buffer`: every frame that is complete now. Exhaust it before the next call.
        Raises LinkError."""
        frame = self._frame
        if frame is not None:
            self._have += count
            if self._have == len(frame):
                self._frame = None
                yield whole(frame)
            return
        yield from self._reader.feed(bytes(self._shared[:count]))
        missing = self._reader.missing
        if missing > LARGE_BYTES:
            self._frame = frame = _ending_aligned(missing + self._reader.pending)
            self._have = self._reader.unfinished(frame)


def _ending_aligned(size: int) -> memoryview:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -(memory.ctypes.data + size) % ALIGNMENT
    return memory[start : start + size].data
