import asyncio
import gzip
import zlib

import pytest

from router.edge.rest.body import (
    WrongContentEncoding,
    accepted_encoding,
    compress,
    compress_at_once,
    decompress,
)
from serving.errors import InvalidRequest, TooLarge
from tests.router.edge.rest.rig import within


def read(body: bytes, encoding: str, limit: int = 1000) -> bytes:
    return asyncio.run(within(decompress(body, encoding, limit)))


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
    """gzip, and deflate in both its forms."""
    assert read(packed, encoding) == b"text" * 100


def test_body_that_grows_exactly_to_the_limit_is_accepted() -> None:
    """The limit is inclusive after decompression too; an empty body stays empty."""
    assert len(read(gzip.compress(b"x" * 1000), "gzip")) == 1000
    assert read(gzip.compress(b""), "gzip") == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bomb_is_refused_before_it_grows(encoding: str) -> None:
    """50 MB in 50 kB: refused at the limit, naming the setting."""
    bomb = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(50_000_000))
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes = 100000"):
        read(bomb, encoding, 100_000)


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
        read(packed, "gzip")


def test_unknown_encoding_is_refused() -> None:
    """415 with what would do."""
    with pytest.raises(WrongContentEncoding, match="use gzip, deflate or identity") as failure:
        read(b"x", "br")
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
    """Also where it is longer than one step; in one go only where it is not."""
    body = bytes(range(256)) * 10_000
    assert gzip.decompress(asyncio.run(compress(body, "gzip"))) == body
    assert zlib.decompress(asyncio.run(compress(body, "deflate"))) == body
    assert compress_at_once(body, "gzip") is None
    assert gzip.decompress(compress_at_once(body[:1000], "gzip") or b"") == body[:1000]
