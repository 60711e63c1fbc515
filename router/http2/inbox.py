"""Bytes that do not make a whole frame yet, and the connection preface that comes before all frames."""

from router.http2.errors import ErrorCode, RemoteError
from router.http2.frames import HEAD, HEAD_BYTES, PREFACE


class Inbox:
    """Kept as one bytearray: a peer that sends a byte at a time pins no more than one frame, and is copied once.

    Only the frame that is cut in two is put together here; those behind it are read where they came. `largest_bytes`:
    of a frame with its head."""

    __slots__ = ("_kept", "_largest_bytes", "_need", "prefaced")

    def __init__(self, largest_bytes: int) -> None:
        self._kept = bytearray()
        self._largest_bytes = largest_bytes
        self._need = len(PREFACE)
        self.prefaced = False
        """The preface has come in full."""

    def __bool__(self) -> bool:
        return bool(self._kept)

    def join(self, received: bytes) -> tuple[bytes, int]:
        """The frame that was cut, if `received` completes it (of one that is too large its start), else nothing; and
        how many bytes of `received` went into it or into the preface, which is cut off.

        Raises RemoteError if the peer does not begin with the preface.
        """
        kept = self._kept
        used = self._fill(received, 0)
        if not self.prefaced:
            if not PREFACE.startswith(kept):
                raise RemoteError(ErrorCode.HTTP_1_1_REQUIRED, "no HTTP/2 connection preface")
            if len(kept) == self._need:
                self.prefaced = True
                kept.clear()
            return b"", used
        if self._need == HEAD_BYTES == len(kept):
            self._need += HEAD.unpack_from(kept)[0] >> 8
            if self._need <= self._largest_bytes:
                used = self._fill(received, used)
        if len(kept) < self._need <= self._largest_bytes:
            return b"", used
        frame = bytes(kept)
        kept.clear()
        return frame, used

    def _fill(self, received: bytes, start: int) -> int:
        stop = start + self._need - len(self._kept)
        if start == 0 and stop >= len(received):
            self._kept += received
            return len(received)
        self._kept += received[start:stop]
        return min(stop, len(received))

    def keep(self, rest: bytes, need: int = HEAD_BYTES) -> None:
        """Keep the start of a frame of `need` bytes, as far as is known."""
        self._kept += rest
        self._need = need

    def clear(self) -> None:
        self._kept.clear()
