"""Bytes that do not make a whole frame yet, and the connection preface that comes before all frames."""

from router.http2.errors import ErrorCode, RemoteError
from router.http2.frames import HEAD_BYTES, PREFACE


class Inbox:
    """Kept as one bytearray: a peer that sends a byte at a time pins no more than one frame, and is copied once."""

    __slots__ = ("_kept", "_need", "prefaced")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._need = len(PREFACE)
        self.prefaced = False
        """The preface has come in full."""

    def __bool__(self) -> bool:
        return bool(self._kept)

    def join(self, received: bytes) -> bytes:
        """All that was not read yet if it completes the next frame (or the preface, which is cut off), else nothing.

        Raises RemoteError if the peer does not begin with the preface.
        """
        self._kept += received
        if not self.prefaced and not PREFACE.startswith(self._kept[: len(PREFACE)]):
            raise RemoteError(ErrorCode.HTTP_1_1_REQUIRED, "no HTTP/2 connection preface")
        if len(self._kept) < self._need:
            return b""
        joined = bytes(self._kept)
        self._kept.clear()
        if self.prefaced:
            return joined
        self.prefaced = True
        return joined[len(PREFACE) :]

    def keep(self, rest: bytes, need: int = HEAD_BYTES) -> None:
        """Keep the start of a frame of `need` bytes, as far as is known."""
        self._kept += rest
        self._need = need

    def clear(self) -> None:
        self._kept.clear()
