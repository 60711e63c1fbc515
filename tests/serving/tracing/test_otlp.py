from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from serving.tracing.context import Context
from serving.tracing.otlp import Envelope, Kind, attribute, failed, link, shape, span

IDS = st.binary(min_size=8, max_size=8)
NS = st.integers(0, 2**63)
TEXT = st.text(max_size=40)
VALUES = st.one_of(TEXT, st.integers(0, 2**62))


def message(key: str, value: str | int) -> KeyValue:
    member = "string_value" if isinstance(value, str) else "int_value"
    return KeyValue(key=key, value=AnyValue(**{member: value}))  # type: ignore[arg-type]


@st.composite
def official_spans(draw: st.DrawFn) -> Span:
    """Spans of every kind that we make."""
    trace_id, start = draw(st.binary(min_size=16, max_size=16)), draw(NS)
    return Span(
        trace_id=trace_id,
        span_id=draw(IDS),
        parent_span_id=draw(IDS | st.just(b"")),
        trace_state=draw(TEXT),
        name=draw(TEXT),
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + draw(NS) // 2,
        attributes=[message(draw(TEXT.filter(bool)), draw(VALUES)) for _ in range(2)],
        links=[Span.Link(trace_id=trace_id, span_id=draw(IDS), flags=0x100 | draw(st.integers(0, 255)))],
        status=Status(code=Status.STATUS_CODE_ERROR, message=draw(TEXT)),
        flags=0x300 | draw(st.integers(0, 255)),
    )


def packed(official: Span) -> bytes:
    """The same span by our hand."""
    context = Context(official.trace_id, official.parent_span_id, official.flags & 0xFF)
    context.state = official.trace_state
    fixed, other = official.attributes
    (linked,) = official.links
    return span(
        shape(official.name, Kind.CLIENT, {fixed.key: value_of(fixed)}),
        context,
        official.span_id,
        official.parent_span_id,
        official.start_time_unix_nano,
        official.end_time_unix_nano,
        attribute(other.key, value_of(other))
        + failed(official.status.message)
        + link(Context(linked.trace_id, flags=linked.flags & 0xFF), linked.span_id),
        remote_parent=True,
    )


def value_of(attribute: KeyValue) -> str | int:
    value: str | int = getattr(attribute.value, attribute.value.WhichOneof("value") or "")
    return value


@settings(max_examples=60)
@given(official_spans(), official_spans())
def test_official_classes_read_what_we_pack(first: Span, second: Span) -> None:
    """Any spans in a request equal those that opentelemetry-proto makes, field by field."""
    ours = Envelope({"service.name": "s", "n": 3}, "1.2").around([packed(first), packed(second)])
    scope = InstrumentationScope(name="dodona", version="1.2")
    theirs = ResourceSpans(
        resource=Resource(attributes=[message("service.name", "s"), message("n", 3)]),
        scope_spans=[ScopeSpans(scope=scope, spans=[first, second])],
    )
    assert ExportTraceServiceRequest.FromString(ours) == ExportTraceServiceRequest(resource_spans=[theirs])


def test_texts_are_cut_and_times_run_forward() -> None:
    """A model's long message stays small, and no span ends before it began."""
    cut = span(shape("x" * 600, Kind.SERVER, {}), Context(bytes(16)), bytes(8), b"", 20, 10, failed("é" * 600))
    (found,) = ScopeSpans.FromString(cut).spans
    assert (found.name, found.status.message) == ("x" * 512, "é" * 512)
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (20, 20)
    assert found.flags == 0x101
