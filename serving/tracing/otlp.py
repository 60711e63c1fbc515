"""Spans in OTLP's protobuf form (opentelemetry-proto 1.x), packed by hand.

Why not the SDK: a span through `opentelemetry-sdk` and its exporter costs 20 us of CPU, in protobuf's own classes 7,
here about 1, and a request has nine (docs/decisions/0020-traces.md). It is possible because spans are made after the
fact: all that varies has a fixed width (ids, times, flags), the rest is the same for all of a shape and packed once.
Tests read the result back with the official classes.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Final

from serving.tracing.context import Context
from serving.wire import field_bytes, head, varint

Value = str | int
Attributes = Mapping[str, Value]


class Kind(IntEnum):
    """opentelemetry.proto.trace.v1.Span.SpanKind."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


# Each fixed field behind its tag: trace_id = 1, span_id = 2, parent_span_id = 4, start = 7, end = 8 (unix nanoseconds),
# flags = 16 (fixed32).
_CHILD: Final = Struct("<2s16s2s8s2s8scQcQ2sI").pack
_ROOT: Final = Struct("<2s16s2s8scQcQ2sI").pack
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START, _END, _FLAGS = b"\x39", b"\x41", b"\x85\x01"
_SPANS: Final = 2  # of ScopeSpans
_HEADS: Final = tuple(head(_SPANS, size) for size in range(1024))
# Bits above the eight of W3C: whether the parent is known to be in another process, and whether it is.
_KNOWS_REMOTE, _IS_REMOTE = 0x100, 0x200
_MAX_TEXT_CHARS: Final = 512
_SHORT: Final = 100  # bytes of an attribute whose lengths all have one byte


@lru_cache(4096)
def attribute(key: str, value: Value) -> bytes:
    """A Span.attributes field. Texts are cut at 512 characters, numbers must be >= 0. Remembered: for few values."""
    return _attribute(9, key, value)


def unique(key: str, value: str) -> bytes:
    """As `attribute`, for a text that hardly comes again."""
    text, name = _text(value), _key(key)
    size = len(text)
    if size + len(name) > _SHORT:
        return _attribute(9, key, value)
    return b"\x4a%c%b\x12%c\x0a%c%b" % (len(name) + size + 4, name, size + 2, size, text)


@lru_cache(256)
def _key(key: str) -> bytes:
    return field_bytes(1, key.encode())


def _attribute(field: int, key: str, value: Value) -> bytes:
    if isinstance(value, str):
        text = _text(value)
        inner = head(1, len(text)) + text  # a member of a oneof: there even where it is empty
    else:
        inner = b"\x18" + varint(value)
    return field_bytes(field, _key(key) + head(2, len(inner)) + inner)


def shape(name: str, kind: Kind, attributes: Attributes) -> bytes:
    """What all spans of a kind have in common."""
    return (
        field_bytes(5, _text(name))
        + b"\x30"
        + varint(kind)
        + b"".join(attribute(key, value) for key, value in attributes.items())
    )


def failed(message: str) -> bytes:
    """A Span.status field: an error."""
    return field_bytes(15, field_bytes(2, _text(message)) + b"\x18\x02")


def link(context: Context, span_id: bytes) -> bytes:
    """A Span.links field: another span that this one had to do with."""
    flags = b"\x35" + (context.flags | _KNOWS_REMOTE).to_bytes(4, "little")
    return field_bytes(13, field_bytes(1, context.trace_id) + field_bytes(2, span_id) + flags)


def span(  # noqa: PLR0917 - by place, as it is called for every span
    form: bytes,
    context: Context,
    span_id: bytes,
    parent_id: bytes,
    start_ns: int,
    end_ns: int,
    more: bytes = b"",
    remote_parent: bool = False,
) -> bytes:
    """A ScopeSpans.spans field. Times are unix nanoseconds; `parent_id` is empty for the first span of a trace; `more`
    holds further fields (`attribute`, `failed`, `link`)."""
    flags = context.flags | _KNOWS_REMOTE | (_IS_REMOTE if remote_parent else 0)
    end_ns = max(end_ns, start_ns)
    if parent_id:
        fixed = _CHILD(
            _TRACE_ID,
            context.trace_id,
            _SPAN_ID,
            span_id,
            _PARENT_ID,
            parent_id,
            _START,
            start_ns,
            _END,
            end_ns,
            _FLAGS,
            flags,
        )
    else:
        fixed = _ROOT(_TRACE_ID, context.trace_id, _SPAN_ID, span_id, _START, start_ns, _END, end_ns, _FLAGS, flags)
    if context.state:
        more = field_bytes(3, context.state.encode()) + more
    size = len(fixed) + len(form) + len(more)
    return (_HEADS[size] if size < len(_HEADS) else head(_SPANS, size)) + fixed + form + more


class Envelope:
    """An ExportTraceServiceRequest around spans of one process."""

    def __init__(self, resource: Attributes, version: str) -> None:
        attributes = b"".join(_attribute(1, key, value) for key, value in resource.items())
        self._resource = field_bytes(1, attributes)
        self._scope = field_bytes(1, field_bytes(1, b"dodona") + field_bytes(2, version.encode()))

    def around(self, spans: Iterable[bytes]) -> bytes:
        scope_spans = self._scope + b"".join(spans)
        return field_bytes(1, self._resource + field_bytes(2, scope_spans))


def _text(value: str) -> bytes:
    return value[:_MAX_TEXT_CHARS].encode("utf-8", "replace")
