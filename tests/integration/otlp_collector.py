"""An OpenTelemetry collector for tests: OTLP over HTTP, read with the official message classes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 20.0


def plain(attributes: "list[KeyValue]") -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@dataclass(frozen=True)
class Received:
    """A span with the process that sent it."""

    span: Span
    resource: dict[str, str | int]

    @property
    def attributes(self) -> dict[str, str | int]:
        return plain(self.span.attributes)

    @property
    def service(self) -> str | int:
        return self.resource["service.name"]


class OtlpCollector:
    """Listens while entered. `status` is what it answers; other than 200, what it got is thrown away."""

    def __init__(self) -> None:
        self.status = 200
        self.posts = 0
        self.headers: dict[str, str] = {}
        self._spans: list[Received] = []
        self._news = threading.Condition()
        collector = self

        class Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = collector._take(self.path, dict(self.headers), body)
                self.send_response(collector.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "OtlpCollector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def trace(self, trace_id: str, complete: Callable[[list[Received]], bool]) -> list[Received]:
        """The spans of a trace, once they are all there."""
        return self.until(
            lambda spans: complete([one for one in spans if one.span.trace_id.hex() == trace_id]), trace_id
        )

    def until(self, holds: Callable[[list[Received]], bool], trace_id: str = "") -> list[Received]:
        """All spans, or those of one trace, once it holds; asked whenever some came."""
        deadline = time.monotonic() + WAIT_S
        with self._news:
            while not holds(self._spans):
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"only these spans came: {[one.span.name for one in self._spans]}"
                self._news.wait(left_s)
            return [one for one in self._spans if trace_id in ("", one.span.trace_id.hex())]

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        with self._news:
            self.posts += 1
            self.headers = headers
            if self.status == 200:
                assert path == "/v1/traces"
                request = ExportTraceServiceRequest.FromString(body)
                for group in request.resource_spans:
                    resource = plain(group.resource.attributes)
                    self._spans += [Received(span, resource) for part in group.scope_spans for span in part.spans]
            self._news.notify_all()
        return ExportTraceServiceResponse().SerializeToString()
