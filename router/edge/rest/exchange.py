"""One request as the endpoints see it, and the response they hand back."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from router.core import Core
from router.edge.rest.body import decompress
from router.edge.rest.jsontext import parse
from router.front.exchange import Exchange
from router.http1.heads import Head
from router.http1.replies import Header, written
from serving.errors import DodonaError, InvalidRequest
from serving.status import Status

if TYPE_CHECKING:
    from router.edge.rest.aside import Aside
    from router.edge.rest.infer import InferPlan
    from router.edge.rest.templates import Shelf

JSON_TYPE: Final[Header] = (b"content-type", b"application/json")
BINARY_TYPE: Final[Header] = (b"content-type", b"application/octet-stream")

# Refused although the endpoints look at bytes, not at the type: a body of these types can only be a mistake. Everything
# else is taken as JSON, because `curl -d` says application/x-www-form-urlencoded and many clients say nothing.
_FOREIGN_TYPES = ("multipart/", "image/", "audio/", "video/", "application/grpc", "application/x-protobuf")
_FOREIGN_SUBTYPES = ("protobuf", "msgpack", "cbor", "avro", "xml", "yaml", "arrow.stream", "arrow.file")


class WrongContentType(DodonaError):
    status: ClassVar[Status] = Status.INVALID_ARGUMENT

    @property
    def http_status(self) -> int:
        return 415


@dataclass(slots=True)
class Request:
    """`arguments` are those in the path. `headers` has lower-case names; of a repeated header the last counts."""

    core: Core
    exchange: Exchange
    plan: "Plan"
    request_id: str
    aside: "Aside"
    shelf: "Shelf"
    cache_status: str = ""
    """Value of the reply's Cache-Status; empty for an answer of a run of its own."""

    @property
    def arguments(self) -> Mapping[str, str]:
        return self.plan.arguments

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        return self.exchange.head.headers

    @property
    def model(self) -> str:
        return self.arguments["model"]

    @property
    def version(self) -> str:
        """The version or label in the path, "" if there is none."""
        return self.arguments.get("version", "")

    @property
    def traceparent(self) -> str:
        return self.headers.get(b"traceparent", b"").decode("latin-1")

    @property
    def tenant(self) -> str:
        return self.headers.get(self.core.tenant_header, b"").decode("latin-1")

    @property
    def cache_control(self) -> str:
        return self.headers.get(b"cache-control", b"").decode("latin-1")

    def deadline(self) -> float | None:
        """Event-loop time (seconds) from `x-request-timeout-ms`, None without it. Raises InvalidRequest."""
        timeout_s = timeout_of(self.exchange.head)
        return None if timeout_s is None else self.exchange.opened_at + timeout_s

    async def body(self) -> bytes:
        """The whole body, decompressed. Raises WrongContentType, WrongContentEncoding, TooLarge, InvalidRequest."""
        check_content_type(self.exchange.head)
        encoding = self.headers.get(b"content-encoding")
        if encoding is None:
            return self.exchange.body
        limit = self.core.settings.limits.max_message_bytes
        return await decompress(self.exchange.body, encoding.decode("latin-1"), limit)

    async def json(self) -> object:
        """The body as JSON; an empty body is an empty object. Raises as `body` does."""
        text = await self.body()
        return parse(text, self.core.settings.limits.max_json_depth) if text.strip() else {}


def timeout_of(head: Head) -> float | None:
    """Seconds from `x-request-timeout-ms`, None without it. Raises InvalidRequest."""
    value = head.headers.get(b"x-request-timeout-ms")
    if value is None:
        return None
    try:
        milliseconds = float(value)
    except ValueError:
        milliseconds = -1.0
    if not (milliseconds > 0 and isfinite(milliseconds)):
        raise InvalidRequest(
            f"{value.decode('latin-1')!r} is not a positive number",
            field="x-request-timeout-ms",
            remedy="send milliseconds, for example 250",
        )
    return milliseconds / 1e3


def check_content_type(head: Head) -> None:
    """Raises WrongContentType for what cannot be meant as JSON or tensors."""
    value = head.headers.get(b"content-type")
    if value is None:
        return
    kind = value.split(b";", 1)[0].strip().lower().decode("latin-1")
    subtype = kind.rpartition("/")[2].rpartition("+")[2].removeprefix("x-").removeprefix("vnd.apache.")
    if kind.startswith(_FOREIGN_TYPES) or subtype in _FOREIGN_SUBTYPES:
        raise WrongContentType(
            f"{kind} is not understood",
            field="content-type",
            remedy="send application/json, or application/octet-stream with inference-header-content-length",
        )


@dataclass(slots=True)
class Response:
    body: bytes = b""
    status: int = 200
    headers: list[Header] = field(default_factory=lambda: [JSON_TYPE])

    def send(self, exchange: Exchange, request_id: str) -> None:
        lines = written(self.headers) + b"x-request-id: %s\r\n" % request_id.encode()
        exchange.reply(self.status, lines, self.body)


Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Direct:
    """An endpoint of the hot path: a plain function that sees to the answer itself, without a task. What it raises is
    answered for it."""

    start: Callable[[Request], None]

    @property
    def __name__(self) -> str:
        return self.start.__name__


class Plan:
    """What the edge makes of a head; kept in `Head.plan`, so made once for all requests with the same head."""

    __slots__ = ("arguments", "infer", "request_id", "target")

    def __init__(self, target: Endpoint | Direct, arguments: Mapping[str, str], request_id: str) -> None:
        """`request_id` is the caller's, "" where each request gets one of ours."""
        self.target = target
        self.arguments = arguments
        self.request_id = request_id
        self.infer: InferPlan | None = None


def as_json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)
