"""What a sampled request leaves behind in the router: one span for the caller's call, and its parts.

    POST /v2/models/{model}/infer        server: from arrival to the answer
      receive                            from arrival to acceptance: decoding, look-up, admission
      queue                              from acceptance until a replica had room
      link                               client: from there to the answer; the parent of the worker's spans

Spans are made at the end, from times that were noted on the way; a request that is not sampled has no Trace, and costs
a look at its `traceparent` or one random number. A request that is sent again has a queue and a link for each attempt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from serving.errors import DodonaError
from serving.tracing.clock import wall_offset_ns
from serving.tracing.context import Context, Sampler
from serving.tracing.otlp import Attributes, Kind, attribute, failed, shape, span, unique

if TYPE_CHECKING:
    from router.front.calls import Metadata
    from router.request import Inference
    from serving.spec import ModelSpec

_RECEIVE: Final = shape("receive", Kind.INTERNAL, {})
_QUEUE: Final = shape("queue", Kind.INTERNAL, {})
_LINK: Final = shape("link", Kind.CLIENT, {"rpc.system": "dodona.link"})
_MAX_NAME_CHARS: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """An entry point: the name and fixed attributes of its spans, and how its carrier of headers is read."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    status: Callable[[DodonaError | None], tuple[str, int]]
    """Attribute that holds the answer's status."""
    tracestate: Callable[[Any], str]


def grpc_origin(method: str) -> Origin:
    service = "inference.GRPCInferenceService"
    attributes = (("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", method))
    return Origin(f"{service}/{method}", attributes, _grpc_status, _metadata_state)


def http_origin(method: str, route: str) -> Origin:
    attributes = (("http.request.method", method), ("http.route", route))
    return Origin(f"{method} {route}", attributes, _http_status, _header_state)


def _grpc_status(error: DodonaError | None) -> tuple[str, int]:
    return "rpc.grpc.status_code", int(error.status) if error is not None else 0


def _http_status(error: DodonaError | None) -> tuple[str, int]:
    return "http.response.status_code", error.http_status if error is not None else 200


def _metadata_state(metadata: "Metadata") -> str:
    """A header that came more than once is one list, as HTTP has it."""
    return ",".join(value for name, value in metadata if name == "tracestate" and isinstance(value, str))


def _header_state(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"tracestate", b"").decode("latin-1")


class Tracer:
    """`record` takes finished spans; `clock` is event-loop time in seconds, `offset_ns` what makes unix time of it."""

    def __init__(
        self,
        sampler: Sampler,
        record: Callable[..., None],
        clock: Callable[[], float],
        offset_ns: Callable[[], int] = wall_offset_ns,
    ) -> None:
        self.sampler = sampler
        self.record = record
        self.clock = clock
        self.offset_ns = offset_ns

    def begin(self, origin: Origin, traceparent: str, carrier: Any, arrived: float = 0.0) -> "Trace | None":
        """None for a request that is not sampled. `arrived` is event-loop time, 0 = now."""
        parent = self.sampler.decide(traceparent)
        if parent is None:
            return None
        if parent.span_id:
            parent.add_state(origin.tracestate(carrier))
        return Trace(self, origin, parent, arrived or self.clock())


class _Attempt:
    """One sending to a replica. Event-loop times; `link_id` is the span that the worker's hang on."""

    __slots__ = ("bound_at", "link_id", "replica", "returned_at", "since")

    def __init__(self, since: float, bound_at: float, link_id: bytes, replica: str) -> None:
        self.since = since
        """When it began to wait for this."""
        self.bound_at = bound_at
        self.link_id = link_id
        self.replica = replica
        self.returned_at = 0.0
        """When it came back without an answer."""


class Trace:
    """A sampled request on its way. Ended once, by `answered` or `refused`."""

    __slots__ = ("_arrived", "_attempts", "_origin", "_parent", "_span_id", "_tracer")

    def __init__(self, tracer: Tracer, origin: Origin, parent: Context, arrived: float) -> None:
        self._tracer = tracer
        self._origin = origin
        self._parent = parent
        self._arrived = arrived
        self._span_id = tracer.sampler.new_span_id()
        self._attempts: list[_Attempt] = []

    @property
    def traceparent(self) -> str:
        return self._parent.traceparent(self._span_id)

    def bound(self, inference: "Inference", replica: str) -> None:
        """It goes to a replica: the worker is told of the link's span as its parent."""
        since = self._attempts[-1].returned_at if self._attempts else inference.queued_at
        attempt = _Attempt(since, self._tracer.clock(), self._tracer.sampler.new_span_id(), replica)
        self._attempts.append(attempt)
        inference.traceparent = self._parent.traceparent(attempt.link_id)
        inference.tracestate = self._parent.state

    def returned(self) -> None:
        """The replica was lost, or gave it back. A run that was taken over from another request began in that one's
        name, and so has no attempt here."""
        if self._attempts:
            self._attempts[-1].returned_at = self._tracer.clock()

    def answered(self, inference: "Inference", error: DodonaError | None = None) -> None:
        now = self._tracer.clock()
        offset = self._tracer.offset_ns()
        accepted = inference.queued_at
        spans = [self._child(_RECEIVE, self._arrived, accepted, offset)]
        waits_since = accepted
        for attempt in self._attempts:
            waits_since = attempt.returned_at
            name = attribute("dodona.worker", attempt.replica)
            spans.append(self._child(_QUEUE, attempt.since, attempt.bound_at, offset))
            spans.append(
                self._child(_LINK, attempt.bound_at, waits_since or now, offset, span_id=attempt.link_id, more=name)
            )
        if waits_since and waits_since < now:
            spans.append(self._child(_QUEUE, waits_since, now, offset))
        more = unique("dodona.request_id", inference.request_id) + attribute("dodona.rows", inference.rows)
        whole = self._server(_form_of(self._origin, inference.pool.spec) + more, now, offset, error)
        self._tracer.record(whole, *spans)

    def refused(self, error: DodonaError) -> None:
        """It was not accepted."""
        self._tracer.record(self._server(_form(self._origin), self._tracer.clock(), self._tracer.offset_ns(), error))

    def _server(self, form: bytes, now: float, offset: int, error: DodonaError | None) -> bytes:
        more = attribute(*self._origin.status(error))
        if error is not None:
            more += attribute("error.type", error.status.name) + failed(str(error))
        parent = self._parent
        return span(
            form,
            parent,
            self._span_id,
            parent.span_id,
            _ns(self._arrived, offset),
            _ns(now, offset),
            more,
            remote_parent=bool(parent.span_id),
        )

    def _child(
        self, form: bytes, start: float, end: float, offset: int, *, span_id: bytes = b"", more: bytes = b""
    ) -> bytes:
        span_id = span_id or self._tracer.sampler.new_span_id()
        return span(form, self._parent, span_id, self._span_id, _ns(start, offset), _ns(end, offset), more)


@lru_cache(1024)
def _form_of(origin: Origin, spec: "ModelSpec") -> bytes:
    return _shape(origin, {"dodona.model": spec.name, "dodona.model.version": spec.version})


@lru_cache(64)
def _form(origin: Origin) -> bytes:
    return _shape(origin, {})


def _shape(origin: Origin, more: Attributes) -> bytes:
    return shape(origin.name[:_MAX_NAME_CHARS], Kind.SERVER, {**dict(origin.attributes), **more})


def _ns(seconds: float, offset: int) -> int:
    return int(seconds * 1e9) + offset
