import random
from itertools import pairwise

import httptools
import pytest

from router.http1.chunks import ChunkReader
from serving.errors import DodonaError
from tests.router.http1.wire import all_of, bodies, chunked, connection, refused, request


def read(data: bytes, *cuts: int) -> tuple[bytes, bytes | None]:
    """Body and what follows it, the bytes having come in pieces."""
    reader = ChunkReader(10_000, 200)
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        rest = reader.feed(data[start:end])
        if rest is not None:
            return reader.body(), rest + data[end:]
    return reader.body(), None


BODY = b'5;name="v"\r\nhello\r\nA \r\n'
WHOLE = b"5;a=b\r\nhello\r\n00A\r\n, 10 bytes\r\n0\r\nx-sum: 1\r\n\r\nGET"


@pytest.mark.parametrize("at", range(len(WHOLE)))
def test_a_body_may_be_cut_anywhere(at: int) -> None:
    """In two pieces at every place, extensions and trailers read over."""
    assert read(WHOLE, at) == (b"hello, 10 bytes", b"GET")


def test_a_body_may_come_byte_by_byte() -> None:
    """And what follows it is not touched."""
    assert read(WHOLE, *range(len(WHOLE))) == (b"hello, 10 bytes", b"GET")


BROKEN = {
    "no size": b"\r\nhello",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "CR in the extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "bare LF behind the chunk": b"5\r\nhello\n0\r\n\r\n",
    "beyond 64 bits": b"11111111111111111\r\n",
    "endless size": b"0" * 400,
    "endless extension": b"5;" + b"a" * 400,
    "trailer without colon": b"0\r\nhello\r\n\r\n",
    "folded trailer": b"0\r\nx: a\r\n b\r\n\r\n",
    "bare LF in the trailers": b"0\r\nx: a\n\r\n",
    "bare LF at the end": b"0\r\n\n",
    "endless trailers": b"0\r\n" + b"x: y\r\n" * 400,
    "endless trailer": b"0\r\nx: " + b"y" * 2000,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_another_server_could_read_differently_is_refused(data: bytes) -> None:
    """Smuggling by chunks: none of it is let pass, whole or byte by byte."""
    with pytest.raises(DodonaError):
        read(data)
    with pytest.raises(DodonaError):
        read(data, *range(len(data)))
    assert refused(connection(), request("POST / HTTP/1.1", "transfer-encoding: chunked", body=data))[0] in (400, 431)


def test_a_flood_of_tiny_chunks_is_cut_off() -> None:
    """Six bytes of a sender's cost us more than its body is worth: after some thousand the mean must be 16 bytes."""
    assert bodies(all_of(connection(), chunked(*[b"x"] * 4000))) == [b"x" * 4000]
    status, text = refused(connection(), chunked(*[b"x"] * 5000))
    assert (status, "chunks of less than 16 bytes" in text) == (400, True)
    assert bodies(all_of(connection(), chunked(*[b"x" * 16] * 5000))) == [b"x" * 80_000]


class Oracle:
    """httptools' reading of the same request."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.complete = 0
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self.complete = 0

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_is_read_as_httptools_reads_it_or_refused(seed: int) -> None:
    """Differential: what we take for a whole body, the oracle takes for the same one; we may only be stricter."""
    chance = random.Random(seed)
    alphabet = [b"\r\n", b"\n", b"\r", b"0", b"5", b"a", b";", b" ", b"\t", b"hello", b":", b"\x00", b"-", b"\xff"]
    accepted = 0
    for _ in range(500):
        body = bytearray(chance.choice((b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n1\r\n.\r\n0\r\na: b\r\n\r\n")))
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(3)] = chance.choice(alphabet)
        data = request("POST / HTTP/1.1", "transfer-encoding: chunked", body=bytes(body))
        ours = bodies(all_of(connection(), data))
        oracle = Oracle(data)
        if ours and oracle.complete != 1:
            # httptools goes on to what follows the body, and finds no request there.
            oracle = Oracle(data[: len(data) - len(_rest(data))])
        if ours:
            accepted += 1
            assert (oracle.complete, oracle.body) == (1, ours[0]), bytes(body)
    assert accepted > 50


def _rest(data: bytes) -> bytes:
    """What follows the body in our reading."""
    return ChunkReader(10_000, 200).feed(data.partition(b"\r\n\r\n")[2]) or b""
