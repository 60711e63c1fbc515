import asyncio
import gzip
import zlib
from collections.abc import MutableMapping
from typing import Any

import pytest

from router.edge.rest.body import (
    BodyTimeout,
    WrongContentEncoding,
    accepted_encoding,
    compress,
    read_body,
)
from serving.errors import Cancelled, InvalidRequest, TooLarge
from tests.router.edge.rest.rig import within


class Sender:
    """The caller's side of a body; counts how often it was asked."""

    def __init__(self, *pieces: bytes, then: str = "end") -> None:
        self._pieces = list(pieces)
        self._then = then
        self.asked = 0

    async def receive(self) -> MutableMapping[str, Any]:
        self.asked += 1
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or self._then != "end"}
        return {"type": "http.disconnect"}


def read(sender: Sender, limit: int = 1000, **headers: str) -> bytes:
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return asyncio.run(within(read_body(sender.receive, fields, limit)))


def test_pieces_are_joined() -> None:
    """A body may come in any number of pieces, empty ones too."""
    assert read(Sender(b"ab")) == b"ab"
    assert read(Sender(b"a", b"", b"b")) == b"ab"
    assert read(Sender(b"")) == b""


def test_declared_length_over_the_limit_is_refused_unread() -> None:
    """The body is not even asked for."""
    sender = Sender(b"x")
    with pytest.raises(TooLarge, match=r"body of 1001 bytes is above router\.limits\.max_message_bytes = 1000"):
        read(sender, content_length="1001")
    assert sender.asked == 0


def test_undeclared_length_is_checked_while_it_comes() -> None:
    """A chunked body is refused at the piece that passes the limit, not at its end."""
    sender = Sender(*[b"x" * 400] * 100)
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes") as failure:
        read(sender)
    assert sender.asked == 3
    assert failure.value.http_status == 413
    assert len(read(Sender(b"x" * 600, b"x" * 400))) == 1000
    with pytest.raises(TooLarge):
        read(Sender(b"x" * 1001))


def test_caller_that_leaves_while_sending_is_noticed() -> None:
    """Half a body is never taken for a whole one."""
    with pytest.raises(Cancelled):
        read(Sender(b"half", then="leave"))
    with pytest.raises(Cancelled):
        read(Sender())


def test_caller_that_stops_sending_is_let_go() -> None:
    """A pause longer than the limit ends the request with 408."""

    async def silent() -> None:
        events = [{"type": "http.request", "body": b"half", "more_body": True}]

        async def receive() -> MutableMapping[str, Any]:
            if not events:
                await asyncio.Event().wait()
            return events.pop()

        await within(read_body(receive, {}, 1000, pause_s=0.01))

    with pytest.raises(BodyTimeout, match="after 4 bytes") as failure:
        asyncio.run(silent())
    assert failure.value.http_status == 408


def bare_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"text" * 100)),
        ("x-gzip", gzip.compress(b"text" * 100)),
        (" GZIP ", gzip.compress(b"text" * 100)),
        ("deflate", zlib.compress(b"text" * 100)),
        ("deflate", bare_deflate(b"text" * 100)),
        ("identity", b"text" * 100),
    ],
)
def test_encodings_are_undone(encoding: str, packed: bytes) -> None:
    """gzip, and deflate in both its forms; in one piece or in several."""
    assert read(Sender(packed), content_encoding=encoding) == b"text" * 100
    assert read(Sender(packed[:5], packed[5:]), content_encoding=encoding) == b"text" * 100


def test_body_that_grows_exactly_to_the_limit_is_accepted() -> None:
    """The limit is inclusive after decompression too; an empty body stays empty."""
    assert len(read(Sender(gzip.compress(b"x" * 1000)), content_encoding="gzip")) == 1000
    assert read(Sender(gzip.compress(b"")), content_encoding="gzip") == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bomb_is_refused_before_it_grows(encoding: str) -> None:
    """50 MB in 50 kB: refused at the limit, naming the setting."""
    bomb = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(50_000_000))
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes = 100000"):
        read(Sender(bomb), 100_000, content_encoding=encoding)


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"not gzip at all", "corrupt gzip"),
        (gzip.compress(b"text")[:-4], "ends too early"),
        (b"", "ends too early"),
        (gzip.compress(b"text") + b"more", "4 bytes follow its end"),
    ],
)
def test_corrupt_body_is_refused(packed: bytes, reason: str) -> None:
    """Wrong bytes, a missing end, something behind the end."""
    with pytest.raises(InvalidRequest, match=reason):
        read(Sender(packed), content_encoding="gzip")


def test_unknown_encoding_is_refused() -> None:
    """415 with what would do."""
    with pytest.raises(WrongContentEncoding, match="use gzip, deflate or identity") as failure:
        read(Sender(b"x"), content_encoding="br")
    assert failure.value.http_status == 415


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, ""),
        (b"", ""),
        (b"br, zstd", ""),
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"deflate, GZIP;q=0.5", "gzip"),
        (b"gzip; q=0, deflate", "deflate"),
        (b"gzip;q=0.0", ""),
        (b"*", ""),
    ],
)
def test_choice_of_encoding_follows_the_caller(header: bytes | None, encoding: str) -> None:
    """Only what was asked for by name, and not with weight 0."""
    assert accepted_encoding(header) == encoding


def test_compressed_body_comes_back() -> None:
    """Also where it is longer than one step."""
    body = bytes(range(256)) * 10_000
    assert gzip.decompress(asyncio.run(compress(body, "gzip"))) == body
    assert zlib.decompress(asyncio.run(compress(body, "deflate"))) == body
