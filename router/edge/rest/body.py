"""HTTP's two compressions in both directions. The listener has bounded a body as it came; what it grows to is bounded
here, as it grows. Long work gives the event loop a turn after every step.
"""

import asyncio
import zlib
from collections.abc import Iterator
from typing import ClassVar, Final

from serving.errors import DodonaError, InvalidRequest, above_limit
from serving.status import Status

LEAST_COMPRESSED: Final = 1024
"""Bytes of a response below which compressing costs more than it saves."""
_STEP: Final = 1 << 20  # bytes of plain text made or read between two turns of the event loop

# zlib's window argument: 31 = gzip with its header, 15 = zlib ("deflate" of RFC 9110), -15 = bare deflate.
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class WrongContentEncoding(DodonaError):
    status: ClassVar[Status] = Status.INVALID_ARGUMENT

    @property
    def http_status(self) -> int:
        return 415


async def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """`encoding` as in Content-Encoding; `limit` is router.limits.max_message_bytes.
    Raises TooLarge, WrongContentEncoding, InvalidRequest (corrupt)."""
    encoding = encoding.strip().lower()
    if encoding == "identity":
        return body
    window = _WINDOWS.get(encoding)
    if window is None:
        raise WrongContentEncoding(
            f"{encoding!r} is not supported", field="content-encoding", remedy="use gzip, deflate or identity"
        )
    if window == 15 and not _is_zlib(body):
        window = -15
    inflater = zlib.decompressobj(window)
    pieces = []
    size = 0
    rest = body
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest, min(_STEP, limit + 1 - size))
            rest = inflater.unconsumed_tail
            if not piece and not rest:
                break
            size += len(piece)
            if size > limit:
                raise above_limit(f"body with its {encoding} undone", "router.limits.max_message_bytes", limit)
            pieces.append(piece)
            if rest:
                await asyncio.sleep(0)
    except zlib.error as error:
        raise _corrupt(encoding, str(error)) from None
    if not inflater.eof:
        raise _corrupt(encoding, "it ends too early")
    if inflater.unused_data:
        raise _corrupt(encoding, f"{len(inflater.unused_data)} bytes follow its end")
    return b"".join(pieces)


def _is_zlib(body: bytes) -> bool:
    """Whether the first two bytes are a zlib header; some clients send bare deflate under the same name."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def accepted_encoding(header: bytes | None) -> str:
    """What the caller's Accept-Encoding allows of gzip and deflate, gzip first; "" for none of them."""
    if header is None:
        return ""
    accepted = set()
    for choice in header.decode("latin-1").lower().split(","):
        name, _, weight = choice.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(name.strip())
    return "gzip" if "gzip" in accepted else "deflate" if "deflate" in accepted else ""


async def compress(body: bytes, encoding: str) -> bytes:
    """`encoding` is gzip or deflate. The fastest level: predictions are sent once, not stored."""
    pieces = []
    for piece in _compressed(body, encoding):
        pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces)


def compress_at_once(body: bytes, encoding: str) -> bytes | None:
    """As `compress`; None where that would keep the event loop waiting."""
    return b"".join(_compressed(body, encoding)) if len(body) <= _STEP else None


def _compressed(body: bytes, encoding: str) -> Iterator[bytes]:
    deflater = zlib.compressobj(level=1, wbits=_WINDOWS[encoding])
    view = memoryview(body)
    for start in range(0, len(body), _STEP):
        yield deflater.compress(view[start : start + _STEP])
    yield deflater.flush()


def _corrupt(encoding: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"corrupt {encoding}: {reason}", field="body", remedy=f"send one whole {encoding} stream")
