"""What the header block of a request says: which call, how long it may take, how its messages are encoded.

A head is immutable and may be shared by all requests that came with the same block, so everything that can be decided
from headers alone is decided here, once: also that a request is refused, and with which bytes.

Requests of one client differ, if at all, in their deadline and in metadata of their own (trace ids). So a head is made
in two steps: a template from the fields that hardly vary, remembered by these, and the rest on top of it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from router.http2 import replies
from router.http2.errors import MalformedRequest
from router.http2.fields import Field, check_plain, content_length, pseudo_headers
from router.http2.limits import Http2Limits
from router.http2.metadata import Metadata, read_entry, timeout_s
from serving.errors import DodonaError, Unimplemented, above_limit

_STEADY: Final = frozenset(
    (
        b":method",
        b":scheme",
        b":path",
        b":authority",
        b"content-type",
        b"te",
        b"user-agent",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"accept-encoding",
        b"content-length",
    )
)
_MAX_TEMPLATES: Final = 256


class Refusal:
    """An answer known from the head alone; `reason` is the label it is counted under."""

    __slots__ = ("block", "reason")

    def __init__(self, reason: str, block: bytes) -> None:
        self.reason = reason
        self.block = block


class RequestHead:
    __slots__ = ("content_length", "encoding", "known", "metadata", "path", "pseudo", "refusal", "timeout_s", "unary")

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.pseudo = 0
        """How many pseudo headers stood in front."""
        self.unary = True
        self.metadata: Metadata = ()
        self.timeout_s: float | None = None
        self.encoding = "identity"
        self.content_length: int | None = None
        self.refusal: Refusal | None = None
        self.known = False
        """Its block came again, or may."""

    def copy(self) -> "RequestHead":
        twin = RequestHead(self.path)
        twin.unary = self.unary
        twin.metadata = self.metadata
        twin.encoding = self.encoding
        twin.content_length = self.content_length
        twin.refusal = self.refusal
        return twin


class HeadReader:
    """`unary_by_path` names every method served and whether it is unary. One serves all connections of a front."""

    __slots__ = ("_limits", "_templates", "_unary_by_path")

    def __init__(self, unary_by_path: Mapping[str, bool], limits: Http2Limits) -> None:
        self._unary_by_path = unary_by_path
        self._limits = limits
        self._templates: dict[tuple[Field, ...], RequestHead] = {}

    def read(self, fields: Sequence[Field]) -> RequestHead:
        """Raises MalformedRequest for what RFC 9113 section 8 calls so."""
        steady: list[Field] = []
        varying: list[Field] = []
        for field in fields:
            (steady if field[0] in _STEADY else varying).append(field)
        template = self._template(tuple(steady))
        if not varying:
            return template
        check_plain(varying)
        if fields.index(varying[0]) < template.pseudo:
            raise MalformedRequest("malformed request: pseudo header behind another")
        if template.refusal is not None:
            return template
        head = template.copy()
        try:
            self._add(head, varying)
        except DodonaError as error:
            head.refusal = self._failure("bad_metadata", error)
        return head

    def oversized(self) -> RequestHead:
        """Stands in for a header list above the limit, whose fields were not kept."""
        head = RequestHead()
        error = above_limit("header list", "router.limits.max_header_bytes", self._limits.max_header_bytes)
        head.refusal = self._failure("headers_too_large", error)
        return head

    def _add(self, head: RequestHead, varying: list[Field]) -> None:
        entries: list[tuple[str, str | bytes]] = []
        for name, value in varying:
            if name == b"grpc-timeout":
                head.timeout_s = timeout_s(value)
            elif not name.startswith(b"grpc-"):
                entries += read_entry(name, value)
        if entries:
            head.metadata = (*head.metadata, *entries)

    def _template(self, steady: tuple[Field, ...]) -> RequestHead:
        template = self._templates.get(steady)
        if template is not None:
            return template
        template = self._read_steady(steady)
        if template.refusal is None:  # a flood of bad requests must not push the good ones out
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[steady] = template
        return template

    def _read_steady(self, fields: Sequence[Field]) -> RequestHead:
        pseudo = pseudo_headers(fields)
        plain = fields[len(pseudo) :]
        check_plain(plain)
        named = dict(plain)
        if named.get(b"te", b"trailers").lower() != b"trailers":
            raise MalformedRequest("malformed request: te other than trailers")
        head = RequestHead(pseudo[b":path"].decode("latin-1"))
        head.pseudo = len(pseudo)
        head.content_length = content_length(plain)
        head.encoding = named.get(b"grpc-encoding", b"identity").decode("latin-1")
        head.metadata = tuple(
            entry
            for name, value in plain
            if name not in (b"content-type", b"te") and not name.startswith(b"grpc-")
            for entry in read_entry(name, value)
        )
        unary = self._unary_by_path.get(head.path)
        head.unary = unary is not False
        head.refusal = _foreign(pseudo, named) or self._unserved(head, known=unary is not None)
        return head

    def _unserved(self, head: RequestHead, *, known: bool) -> Refusal | None:
        if not known:
            error = Unimplemented(
                f"no method {head.path[:200]!r}", field=":path", remedy="check service and method name"
            )
            return self._failure("unknown_path", error)
        if head.encoding not in ("identity", "gzip"):
            return Refusal("unknown_encoding", replies.unknown_encoding(head.encoding, self._limits.max_status_bytes))
        return None

    def _failure(self, reason: str, error: DodonaError) -> Refusal:
        return Refusal(reason, replies.OK_HEAD + replies.error_trailers(error, self._limits.max_status_bytes))


def _foreign(pseudo: Mapping[bytes, bytes], named: Mapping[bytes, bytes]) -> Refusal | None:
    """Refuse what is not gRPC in HTTP's own terms, as gRPC asks."""
    if pseudo[b":method"] != b"POST":
        block = replies.http_error(405, ":method: not POST; gRPC calls are POST", replies.literal(b"allow", b"POST"))
        return Refusal("not_post", block)
    kind = named.get(b"content-type", b"")
    if kind != b"application/grpc" and not kind.startswith((b"application/grpc+", b"application/grpc;")):
        return Refusal("content_type", replies.http_error(415, "content-type: not gRPC's; send application/grpc"))
    return None
