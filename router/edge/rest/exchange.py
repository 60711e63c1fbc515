"""One HTTP exchange as the endpoints see it: a request that can be read, a response to hand back."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

import orjson

from router.core import Core
from router.edge.rest.body import Receive, read_body
from router.edge.rest.jsontext import parse
from serving.errors import DodonaError, InvalidRequest
from serving.status import Status

# ASGI 3. Its events are plain mappings; they do not travel past `app` and `body`.
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Header = tuple[bytes, bytes]
JSON_TYPE: Header = (b"content-type", b"application/json")
BINARY_TYPE: Header = (b"content-type", b"application/octet-stream")

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
    """`headers` has lower-case names; of a repeated header the last counts. `arguments` are the path's."""

    core: Core
    method: str
    arguments: Mapping[str, str]
    headers: dict[bytes, bytes]
    request_id: str
    receive: Receive
    arrived_at: float
    """Event-loop time, seconds."""
    cache_status: str = ""
    """Value of the reply's Cache-Status; empty for an answer of a run of its own."""

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
        value = self.headers.get(b"x-request-timeout-ms")
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
        return self.arrived_at + milliseconds / 1e3

    async def body(self) -> bytes:
        """The whole body, decompressed. Raises WrongContentType, TooLarge, InvalidRequest, Cancelled."""
        content_type = self.headers.get(b"content-type")
        if content_type is not None:
            _check_content_type(content_type)
        return await read_body(self.receive, self.headers, self.core.settings.limits.max_message_bytes)

    async def json(self) -> object:
        """The body as JSON; an empty body is an empty object. Raises as `body` does."""
        text = await self.body()
        return parse(text, self.core.settings.limits.max_json_depth) if text.strip() else {}


def _check_content_type(value: bytes) -> None:
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


Endpoint = Callable[[Request], Awaitable[Response]]


def as_json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)
