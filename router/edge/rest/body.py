"""Reading a request's body within its limits, and HTTP's two compressions in both directions.

Sizes are checked while the bytes come in, before and after decompression, so a body that is too large (or a small one
that would grow to be) is refused without being held. Long work gives the event loop a turn after every step.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, ClassVar, Final

from serving.errors import Cancelled, DodonaError, InvalidRequest, TooLarge, above_limit
from serving.status import Status

PAUSE_S: Final = 30.0
"""Seconds that a caller may take between two pieces of a body."""
LEAST_COMPRESSED: Final = 1024
"""Bytes of a response below which compressing costs more than it saves."""
_STEP: Final = 1 << 20  # bytes of plain text made or read between two turns of the event loop

# zlib's window argument: 31 = gzip with its header, 15 = zlib ("deflate" of RFC 9110), -15 = bare deflate.
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class WrongContentEncoding(DodonaError):
    status: ClassVar[Status] = Status.INVALID_ARGUMENT

    @property
    def http_status(self) -> int:
        return 415


class BodyTimeout(DodonaError):
    status: ClassVar[Status] = Status.DEADLINE_EXCEEDED

    @property
    def http_status(self) -> int:
        return 408


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int, pause_s: float = PAUSE_S) -> bytes:
    """The body, decompressed. `limit` is router.limits.max_message_bytes.
    Raises TooLarge, WrongContentEncoding, InvalidRequest (corrupt), BodyTimeout, Cancelled (the caller went away)."""
    declared = headers.get(b"content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(f"body of {int(declared)} bytes", limit)
    encoding = headers.get(b"content-encoding")
    event = await receive()
    if event["type"] == "http.request" and not event.get("more_body") and encoding is None:
        body: bytes = event.get("body", b"")
        if len(body) > limit:
            raise _too_large(f"body of {len(body)} bytes", limit)
        return body
    plain = await _read_pieces(receive, event, limit, pause_s)
    return plain if encoding is None else await _decompress(plain, encoding.decode("latin-1").strip().lower(), limit)


async def _read_pieces(receive: Receive, event: MutableMapping[str, Any], limit: int, pause_s: float) -> bytes:
    pieces = []
    size = 0
    while True:
        if event["type"] == "http.disconnect":
            raise Cancelled("the caller went away while sending its request")
        piece = event.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large("body", limit)
        pieces.append(piece)
        if not event.get("more_body"):
            return b"".join(pieces)
        try:
            async with asyncio.timeout(pause_s):
                event = await receive()
        except TimeoutError:
            raise BodyTimeout(
                f"nothing came for {pause_s:g} s after {size} bytes",
                field="body",
                remedy="send the body without a pause",
            ) from None


async def _decompress(body: bytes, encoding: str, limit: int) -> bytes:
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
                raise _too_large(f"body with its {encoding} undone", limit)
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
    deflater = zlib.compressobj(level=1, wbits=_WINDOWS[encoding])
    view = memoryview(body)
    pieces = []
    for start in range(0, len(body), _STEP):
        if start:
            await asyncio.sleep(0)
        pieces.append(deflater.compress(view[start : start + _STEP]))
    pieces.append(deflater.flush())
    return b"".join(pieces)


def _too_large(what: str, limit: int) -> TooLarge:
    return above_limit(what, "router.limits.max_message_bytes", limit)


def _corrupt(encoding: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"corrupt {encoding}: {reason}", field="body", remedy=f"send one whole {encoding} stream")
