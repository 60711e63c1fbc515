"""W3C Trace Context (level 1, https://www.w3.org/TR/trace-context/): whose trace a request belongs to, and whether it
is recorded.

Head sampling: the decision is made once, where the request enters, and travels in the last byte of `traceparent`. What
is not sampled must cost next to nothing, so the common case is told by comparing three characters; only a parent that
is sampled, or odd, is read in full. A malformed `traceparent` is ignored, as the standard asks: a new trace begins.
"""

import re
from collections.abc import Callable
from typing import Final

SAMPLED: Final = 0x01
_UNSAMPLED_TAIL: Final = "-00"
_LENGTH: Final = 55
MAX_TRACEPARENT_CHARS: Final = 128
"""Of one that is passed on; the standard's have 55, later versions may have more."""
_MAX_STATE_CHARS: Final = 512
_SHAPE: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID_BITS: Final = 63  # of which a ratio decides, as OpenTelemetry's TraceIdRatioBased does: the lowest


class Context:
    """A place in a trace. `trace_id` has 16 bytes, `span_id` 8, or none where the trace begins here."""

    __slots__ = ("flags", "span_id", "state", "trace_id")

    def __init__(self, trace_id: bytes, span_id: bytes = b"", flags: int = SAMPLED) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.state = ""
        """`tracestate` as it came: other systems' notes, passed on untouched."""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    def add_state(self, tracestate: str) -> None:
        """One that is overlong, or no ASCII, is left out, as the standard allows."""
        if len(tracestate) <= _MAX_STATE_CHARS and tracestate.isascii():
            self.state = tracestate

    def traceparent(self, span_id: bytes) -> str:
        """The header for a callee whose parent is the span `span_id` of this trace."""
        return f"00-{self.trace_id.hex()}-{span_id.hex()}-{self.flags:02x}"


def read(traceparent: str) -> Context | None:
    """None where it is no `traceparent`."""
    found = _SHAPE.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return Context(bytes.fromhex(found[2]), bytes.fromhex(found[3]), int(found[4], 16))


def trace_id_of(traceparent: str) -> str:
    """For logs: the trace id as text, "" where there is none."""
    context = read(traceparent) if traceparent else None
    return context.trace_id.hex() if context is not None else ""


class Sampler:
    """Decides for requests on entry.

    `ratio` 0..1 of the requests that begin a trace here is sampled, by `chance` (0..1). A caller's own decision stands
    where `follow_parent`; else the ratio decides for its requests too, by their trace id, so that every service with
    the same ratio decides alike. `random_bytes(n)` makes ids.
    """

    __slots__ = ("_bound", "_chance", "_follow_parent", "_random_bytes", "_ratio")

    def __init__(
        self, ratio: float, *, follow_parent: bool, chance: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._ratio = ratio
        self._bound = round(ratio * (1 << _TRACE_ID_BITS))
        self._follow_parent = follow_parent
        self._chance = chance
        self._random_bytes = random_bytes

    def decide(self, traceparent: str) -> Context | None:
        """The parent of a sampled request's first span, None for one that is not recorded."""
        if not traceparent:
            return self._begin()
        if self._follow_parent and traceparent.endswith(_UNSAMPLED_TAIL) and len(traceparent) == _LENGTH:
            return None
        context = read(traceparent)
        if context is None:
            return self._begin()
        if self._follow_parent:
            return context if context.sampled else None
        if int.from_bytes(context.trace_id) & ((1 << _TRACE_ID_BITS) - 1) >= self._bound:
            return None
        context.flags |= SAMPLED
        return context

    def new_span_id(self) -> bytes:
        return self._random_bytes(8)

    def _begin(self) -> Context | None:
        return Context(self._random_bytes(16)) if self._chance() < self._ratio else None
