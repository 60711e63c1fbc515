"""A body in pieces (Transfer-Encoding: chunked), read strictly: every line ends in CRLF, sizes are bare hexadecimal.

What is lenient here and strict in a proxy before us, or the other way round, is how requests are smuggled. Extensions
and trailers are read over. Bounds: a line, the trailers together, the body, and the number of tiny pieces, each of
which costs us more than its sender.
"""

import re
from io import BytesIO
from typing import Final

from router.http1.heads import HeadTooLarge, malformed
from serving.errors import InvalidRequest

_LONGEST_LINE: Final = 256
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# The size, and extensions, in the form that every parser reads alike: no blanks, no escapes.
_SIZE: Final = re.compile(
    rb'([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))?)*' % (_TOKEN, _TOKEN)
)
_TRAILER: Final = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)
_FREE: Final = 4096  # pieces of any size
_LEAST_MEAN: Final = 16  # bytes of a piece, once there are more than that


class ChunkReader:
    """A body that grows above its bound is read over: `excess` tells by how much."""

    __slots__ = (
        "_body",
        "_ending",
        "_in_trailers",
        "_line",
        "_max_bytes",
        "_max_trailers",
        "_missing",
        "_pieces",
        "size",
    )

    def __init__(self, max_bytes: int, max_trailers: int) -> None:
        """The body's bound, and that of the trailers, in bytes."""
        self.size = 0
        """Bytes announced so far."""
        self._max_bytes = max_bytes
        self._max_trailers = max_trailers
        self._body: BytesIO | None = BytesIO()
        self._missing = 0
        self._ending = False
        self._in_trailers = False
        self._line = b""
        self._pieces = 0

    def body(self) -> bytes:
        return b"" if self._body is None else self._body.getvalue()

    @property
    def excess(self) -> int:
        """Bytes above the bound, 0 or less within it."""
        return self.size - self._max_bytes

    def skip(self) -> None:
        """Keep nothing of the body."""
        self._body = None

    def feed(self, data: bytes) -> bytes | None:
        """What follows the body, or None while it goes on. Raises InvalidRequest, HeadTooLarge (trailers)."""
        at = 0
        while True:
            if self._missing:
                piece = data[at : at + self._missing]
                at += len(piece)
                self._missing -= len(piece)
                if self._body is not None:
                    self._body.write(piece)
                if self._missing:
                    return None
                self._ending = True
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                return None
            line = self._line + data[at : end + 1]
            self._line = b""
            at = end + 1
            if self._take(line):
                return data[at:]

    def _keep(self, start: bytes) -> None:
        """The first bytes of a line."""
        self._line += start
        limit = self._max_trailers if self._in_trailers else 2 if self._ending else _LONGEST_LINE
        if len(self._line) > limit:
            raise self._broken()

    def _take(self, line: bytes) -> bool:
        """One line with its end; whether it is the last of the body."""
        if not line.endswith(b"\r\n"):
            raise self._broken()
        text = line[:-2]
        if self._in_trailers:
            return self._trailer(text)
        if self._ending:
            if text:
                raise malformed("a chunk is longer than its size")
            self._ending = False
            return False
        self._begin(text)
        return False

    def _begin(self, text: bytes) -> None:
        match = _SIZE.fullmatch(text) if len(text) <= _LONGEST_LINE else None
        if match is None:
            raise self._broken()
        self._missing = int(match[1], 16)
        self._in_trailers = not self._missing
        self.size += self._missing
        self._pieces += 1
        if self.size < (self._pieces - _FREE) * _LEAST_MEAN:
            raise malformed(f"{self._pieces} chunks of less than {_LEAST_MEAN} bytes")
        if self.size > self._max_bytes:
            self._body = None

    def _trailer(self, text: bytes) -> bool:
        if not text:
            return True
        self._max_trailers -= len(text) + 2
        if self._max_trailers < 0:
            raise HeadTooLarge("the trailers are too large, router.limits.max_header_bytes")
        if _TRAILER.fullmatch(text) is None:
            raise malformed("bad trailer")
        return False

    def _broken(self) -> InvalidRequest:
        where = "trailer" if self._in_trailers else "end of a chunk" if self._ending else "size of a chunk"
        return malformed(f"bad {where}")
