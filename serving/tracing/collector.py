"""OTLP over HTTP, the client's side: one POST a batch on a connection that is kept."""

import contextlib
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import unquote, urlsplit

from serving.errors import ConfigurationError
from serving.tracing.outbox import Answer
from serving.tracing.settings import TRACES_PATH

# What the specification says may be tried again.
_RETRYABLE: Final = (429, 502, 503, 504)


class Collector:
    """`post` is called from one thread."""

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str], certificate: str = "", timeout_s: float = 10.0
    ) -> None:
        """`certificate`: PEM file of authorities to trust instead of the system's. Raises ConfigurationError."""
        parts = urlsplit(endpoint)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host:
            raise ConfigurationError(
                f"{endpoint!r} is not an address", field="tracing.endpoint", remedy="write http://HOST:4318"
            )
        self._path = parts.path if parts.path.strip("/") else TRACES_PATH
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "dodona", **headers}
        if parts.scheme == "https":
            context = _tls(certificate)
            self._connection: HTTPConnection = HTTPSConnection(host, port, timeout=timeout_s, context=context)
        else:
            self._connection = HTTPConnection(host, port, timeout=timeout_s)

    def post(self, body: bytes) -> tuple[Answer, str]:
        """What became of a serialised ExportTraceServiceRequest, and why."""
        try:
            try:
                status, text = self._exchange(body)
            except (HTTPException, ConnectionError):  # a kept connection that the collector has closed meanwhile
                self._connection.close()
                status, text = self._exchange(body)
        except (OSError, HTTPException) as error:
            self._connection.close()
            return Answer.AGAIN, f"{self._connection.host}:{self._connection.port}: {error or type(error).__name__}"
        if 200 <= status < 300:
            return Answer.TAKEN, ""
        return Answer.AGAIN if status in _RETRYABLE else Answer.REFUSED, f"the collector answers {status} {text}"

    def close(self) -> None:
        self._connection.close()

    def _exchange(self, body: bytes) -> tuple[int, str]:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        text = response.read(4096)
        if not response.isclosed():  # a long answer that nobody needs
            self._connection.close()
        return response.status, text.decode("utf-8", "replace").strip()[:200]


def _tls(certificate: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate or None)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {certificate}: {error.strerror or error}",
            field="OTEL_EXPORTER_OTLP_CERTIFICATE",
            remedy="name a PEM file",
        ) from None


def headers_from(text: str) -> dict[str, str]:
    """OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`, values percent-encoded. What has no name is left out."""
    headers = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            with contextlib.suppress(UnicodeEncodeError):
                headers[name.strip().lower()] = unquote(value.strip()).encode("latin-1").decode("latin-1")
    return headers
