"""Heads of requests. httptools parses each; what it made of a head is remembered by the head's bytes.

Clients send the same head again and again, down to the last byte, so a busy one costs a look in a table. That is safe
because HTTP/1.1 keeps no state between heads: equal bytes mean the same. A head that differs in one byte, a trace id
say, is parsed.

httptools delimits nothing here: it is given one head, from the request line to the empty line, and says whether it is
well-formed (no bare LF, no folded lines, one Content-Length, not beside Transfer-Encoding). What it lets pass and we do
not is in `_checked`.
"""

from typing import Any, Final

import httptools

from serving.errors import DodonaError, InvalidRequest, Unimplemented

END: Final = b"\r\n\r\n"
_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 2048  # bytes; a longer head is not likely to come again
_VERSIONS: Final = ("1.0", "1.1")


class HeadTooLarge(DodonaError):
    """Over router.limits.max_header_bytes."""

    @property
    def http_status(self) -> int:
        return 431


class WrongVersion(Unimplemented):
    """Neither HTTP/1.0 nor HTTP/1.1."""

    @property
    def http_status(self) -> int:
        return 505


class Head:
    """Shared between requests with the same bytes: read only, but for `plan`, where the edge keeps what it made of it.

    `headers` has lower-case names; of a repeated header the last counts. `path` is as it came, without the query.
    `length` is the body's in bytes, 0 without one or where it is `chunked`.
    """

    __slots__ = ("chunked", "expects", "headers", "keeps", "length", "method", "old", "path", "plan")

    def __init__(self, method: str, path: bytes, headers: dict[bytes, bytes], old: bool) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.old = old
        """HTTP/1.0."""
        self.length = int(headers.get(b"content-length", b"0"))
        self.chunked = b"transfer-encoding" in headers
        self.expects = not old and headers.get(b"expect", b"").lower() == b"100-continue"
        self.keeps = _keeps(headers.get(b"connection", b""), old)
        """Whether the caller lets the connection live after the answer."""
        self.plan: Any = None


class HeadReader:
    """Shared by the connections of a listener."""

    __slots__ = ("_known", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is router.limits.max_header_bytes."""
        self._max_bytes = max_bytes
        self._known: dict[bytes, Head] = {}

    def read(self, text: bytes) -> Head:
        """`text` ends with the first empty line. Raises HeadTooLarge, InvalidRequest, Unimplemented, WrongVersion."""
        head = self._known.get(text)
        return self._parse(text) if head is None else head

    def _parse(self, text: bytes) -> Head:
        self.check_size(len(text))
        fields = _Fields()
        parser = httptools.HttpRequestParser(fields)
        try:
            parser.feed_data(text)
        except httptools.HttpParserUpgrade:
            pass  # an offer that nobody takes; of CONNECT `_checked` takes care
        except httptools.HttpParserError as error:
            raise malformed(str(error)) from None
        if not fields.complete:
            raise malformed("the head does not end at the first empty line")
        head = _checked(parser.get_method(), parser.get_http_version(), fields)
        if len(text) <= _LONGEST_KNOWN:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[text] = head
        return head

    def check_size(self, size: int) -> None:
        """Raises HeadTooLarge."""
        if size > self._max_bytes:
            raise HeadTooLarge(f"the head is too large, router.limits.max_header_bytes is {self._max_bytes}")


class _Fields:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.repeated: set[bytes] = set()
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.headers:
            self.repeated.add(name)
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.complete = True


def _checked(method: bytes, version: str, fields: _Fields) -> Head:
    """Raises for what httptools accepts and we do not."""
    if version not in _VERSIONS:
        raise WrongVersion(f"HTTP/{version} is not spoken here", remedy="send HTTP/1.1")
    if method == b"CONNECT":
        raise malformed("CONNECT is for proxies")
    headers = fields.headers
    if fields.repeated & {b"host", b"transfer-encoding", b"content-length"}:
        raise malformed("Host, Content-Length or Transfer-Encoding is there twice")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if version == "1.0" or b"content-length" in headers:
            raise malformed("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        if coding.lower() != b"chunked":
            raise Unimplemented(
                f"{coding[:40].decode('latin-1')!r} is not supported",
                field="transfer-encoding",
                remedy="send chunked, and compress by content-encoding",
            )
    return Head(method.decode(), _path(fields.url), headers, version == "1.0")


def _path(url: bytes) -> bytes:
    """Without the query, and without scheme and host where a client thinks that we are a proxy."""
    if url.startswith(b"/"):
        return url.partition(b"#")[0].partition(b"?")[0]
    if url == b"*":
        return b"/"
    try:
        return httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError:
        raise malformed("the address cannot be read") from None


def _keeps(connection: bytes, old: bool) -> bool:
    words = {word.strip() for word in connection.lower().split(b",")}
    return b"close" not in words and (not old or b"keep-alive" in words)


def malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"malformed HTTP request: {why}", remedy="send HTTP/1.1")
