import pytest

from router.http1.heads import Head, HeadReader
from serving.errors import DodonaError
from tests.router.http1.wire import connection, refused, request


def read(*lines: str, max_bytes: int = 1000) -> Head:
    return HeadReader(max_bytes).read(request(*lines))


def test_what_a_head_says() -> None:
    """Names in lower case, the last of a repeated header, the path without its query, the body's length."""
    head = read("POST /v2/models/m%20n/infer?x=1#y HTTP/1.1", "Content-Length: 12", "X-A: 1", "x-a: 2", "X-B:")
    assert (head.method, head.path, head.length, head.chunked) == ("POST", b"/v2/models/m%20n/infer", 12, False)
    assert head.headers == {b"content-length": b"12", b"x-a": b"2", b"x-b": b""}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", b"/"),
        ("*", b"/"),
        ("http://e.com/v2?x", b"/v2"),
        ("http://e.com", b"/"),
        ("/a#b?c", b"/a"),
        ("//a", b"//a"),
    ],
)
def test_the_forms_of_a_target(target: str, path: bytes) -> None:
    """Origin form, `*`, and the absolute form of clients that think we are a proxy."""
    assert read(f"OPTIONS {target} HTTP/1.1").path == path


@pytest.mark.parametrize(
    ("version", "connection_header", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "foo, Close", False),
        ("1.1", "keep-alive", True),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_who_keeps_the_connection(version: str, connection_header: str, keeps: bool) -> None:
    """HTTP/1.1 by default, HTTP/1.0 where it asks for it; `close` wins."""
    lines = [f"connection: {connection_header}"] if connection_header else []
    assert read(f"GET / HTTP/{version}", *lines).keeps is keeps


def test_equal_bytes_are_read_once() -> None:
    """A busy client's head is looked up, and one that differs in a byte is not taken for it."""
    reader = HeadReader(1000)
    first = reader.read(request("GET /a HTTP/1.1", "x: 1"))
    assert reader.read(request("GET /a HTTP/1.1", "x: 1")) is first
    assert reader.read(request("GET /a HTTP/1.1", "x: 2")).headers == {b"x": b"2"}


def test_what_is_remembered_is_bounded() -> None:
    """Callers who make every head different take the memory of a thousand, whatever they do."""
    reader = HeadReader(10_000)
    for number in range(3000):
        reader.read(request("GET /a HTTP/1.1", f"x-request-id: {number}"))
        assert len(reader._known) <= 1024
    reader = HeadReader(10_000)
    reader.read(request("GET /a HTTP/1.1", "x: " + "y" * 5000))
    assert not reader._known


def test_a_refused_head_is_not_remembered() -> None:
    """The second time it is as wrong as the first."""
    reader = HeadReader(1000)
    for _ in range(2):
        with pytest.raises(DodonaError, match="malformed"):
            reader.read(request("GET / HTTP/1.1", "bad header"))


SMUGGLING = {
    "TE and CL": ["content-length: 4", "transfer-encoding: chunked"],
    "CL and TE": ["transfer-encoding: chunked", "content-length: 4"],
    "two lengths": ["content-length: 4", "content-length: 5"],
    "two equal lengths": ["content-length: 4", "content-length: 4"],
    "lengths in a list": ["content-length: 4, 4"],
    "length with a sign": ["content-length: +4"],
    "negative length": ["content-length: -4"],
    "hexadecimal length": ["content-length: 0x4"],
    "length with an underscore": ["content-length: 1_0"],
    "length beyond 64 bits": ["content-length: 99999999999999999999999"],
    "empty length": ["content-length:"],
    "blank before the colon": ["transfer-encoding : chunked"],
    "chunked not last": ["transfer-encoding: chunked, identity"],
    "chunked twice": ["transfer-encoding: chunked", "transfer-encoding: chunked"],
    "almost chunked": ["transfer-encoding: xchunked"],
    "chunked in quotes": ['transfer-encoding: "chunked"'],
    "vertical tab": ["transfer-encoding: \x0bchunked"],
    "folded line": ["x: a", " transfer-encoding: chunked"],
    "tab folded line": ["transfer-encoding:", "\tchunked"],
    "bare LF": ["x: a\ntransfer-encoding: chunked"],
    "bare CR": ["x: a\rtransfer-encoding: chunked"],
    "NUL": ["x: a\x00b"],
    "no name": [": b"],
    "no colon": ["bad header"],
    "two hosts": ["host: a", "host: b"],
}


@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_requests_that_two_servers_could_read_differently(lines: list[str]) -> None:
    """Request smuggling, every known way: 400, and not a byte of what follows is taken for a request."""
    data = request("POST /p HTTP/1.1", *lines, body=b"0\r\n\r\nGET /admin/v1/status HTTP/1.1\r\n\r\n")
    status, text = refused(connection(), data)
    assert (status, "malformed HTTP request" in text) == (400, True)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST /p HTTP/1.0", "transfer-encoding: chunked"], 400),
        (["POST /p HTTP/1.1", "transfer-encoding: gzip, chunked"], 501),
        (["GET /p HTTP/2.0"], 505),
        (["GET /p HTTP/0.9"], 505),
        (["GET /p"], 505),
        (["PRI * HTTP/2.0"], 400),
        (["CONNECT e.com:80 HTTP/1.1"], 400),
        (["get /p HTTP/1.1"], 400),
        (["GET /a b HTTP/1.1"], 400),
        (["GET /p HTTP/1.1 "], 400),
        (["GET /\xff HTTP/1.1"], 400),
        (["GET http:/// HTTP/1.1"], 400),
        (["GET /p HTTP/1.1", "x: " + "y" * 1000], 431),
        (["GET /" + "p" * 1000 + " HTTP/1.1"], 431),
        (["GET /p HTTP/1.1", *[f"x{number}: y" for number in range(300)]], 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_heads_that_end_the_connection(lines: list[str], status: int) -> None:
    """With the status that says why."""
    assert refused(connection(), request(*lines))[0] == status


@pytest.mark.parametrize(
    ("start", "status"),
    [(b"GET / HTTP/1.1\n\n", 400), (b"\x16\x03\x01\x02\x00\x01", 400), (b"hello", 400), (b"GET /" + b"p" * 2000, 431)],
)
def test_what_can_become_no_head_is_refused_at_once(start: bytes, status: int) -> None:
    """Bare LF, a TLS greeting, no method, too long: nobody waits for the empty line."""
    assert refused(connection(), start)[0] == status


def test_an_offer_of_another_protocol_is_let_pass() -> None:
    """Java's HttpClient offers h2c with its first request; its body is a body all the same."""
    head = read("POST / HTTP/1.1", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "content-length: 2")
    assert (head.length, head.keeps) == (2, True)
