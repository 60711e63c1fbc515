"""The differential oracle: the same frames read by us and by python-hyper's h2 server; both must take the same.

Compared after every frame: whether it was accepted, the calls opened, the messages delivered, the calls ended and
cancelled. What differs by intent is in `differs_by_intent`. Where one ends the connection and the other only the
stream (h2 is stricter for malformed headers), their states differ from there on, so the run ends.

Two sources feed it: Hypothesis (test_fuzz.py, few and shrinking well) and seeded random sequences by the million
(fuzz.py, `make fuzz`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack

from router.http2 import frames
from router.http2.limits import Http2Limits
from router.http2.streams import CallGone, CallOpened, ConnectionFailed, HalfClosed, MessageArrived
from tests.router.http2.wire import STREAM, cut, grpc_frame, headers, make

LIMITS = Http2Limits(
    control_burst=10_000, reset_burst=10_000, stream_window_bytes=65_535, connection_window_bytes=131_072,
    max_frame_bytes=16_384,
)  # fmt: skip


@dataclass
class Outcome:
    """What one frame led to. `refused`: "" accepted, "stream" or "connection" an error of that level."""

    refused: str = ""
    opened: list[tuple[int, list[tuple[str, str]]]] = field(default_factory=list)
    """With the caller's metadata, sorted."""
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)


class Ours:
    def __init__(self, limits: Http2Limits = LIMITS) -> None:
        self.connection, _ = make(limits)

    def feed(self, sent: bytes, cuts: Iterable[int] = ()) -> Outcome:
        """`cuts`: where the bytes are torn on their way."""
        outcome = Outcome()
        start = 0
        for stop in (*cuts, len(sent)):
            self._feed(sent[start:stop], outcome)
            start = stop
        answered = cut(self.connection.take())
        if not outcome.refused and any(kind == frames.RST_STREAM for kind, *_ in answered):
            outcome.refused, outcome.cancelled = "stream", []
        return outcome

    def _feed(self, sent: bytes, outcome: Outcome) -> None:
        for event in self.connection.receive(sent, 0.0):
            if isinstance(event, ConnectionFailed):
                outcome.refused = "connection"
            elif isinstance(event, CallOpened):
                outcome.opened.append((event.stream.id, sorted(event.stream.head.metadata)))
            elif isinstance(event, MessageArrived):
                outcome.messages.append((event.stream.id, event.packed[1]))
                self.connection.answers.consumed(event.stream, len(event.packed[1]))
            elif isinstance(event, HalfClosed):
                outcome.ended.append(event.stream.id)
            elif isinstance(event, CallGone):
                outcome.cancelled.append(event.stream.id)


class Theirs:
    def __init__(self) -> None:
        # Normalising would join split cookies, which is for whoever passes them on as HTTP/1.
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", normalize_inbound_headers=False)
        self.connection = h2.connection.H2Connection(config)
        self.connection.local_settings.max_concurrent_streams = LIMITS.max_streams
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(LIMITS.connection_window_bytes - 65_535)

    def feed(self, sent: bytes) -> Outcome:
        outcome = Outcome()
        try:
            events = self.connection.receive_data(sent)
        except (h2.exceptions.ProtocolError, hpack.HPACKError):
            outcome.refused = "connection"
            return outcome
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                outcome.opened.append((event.stream_id, _metadata(event.headers)))
            elif isinstance(event, h2.events.DataReceived):
                if event.data:
                    outcome.messages.append((event.stream_id, event.data[5:]))
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                outcome.ended.append(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                if event.remote_reset:
                    outcome.cancelled.append(event.stream_id)
                else:
                    outcome.refused = "stream"
        answered = cut(self.connection.data_to_send().removeprefix(frames.PREFACE))
        if any(kind == frames.RST_STREAM for kind, *_ in answered):
            outcome.refused = "stream"
        return outcome


def _metadata(fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What of h2's headers counts as metadata with us."""
    own = ("content-type", "te")
    return sorted((name, value) for name, value in fields if not name.startswith((":", "grpc-")) and name not in own)


Step = tuple[Any, ...]


def render(step: Step, encoder: hpack.Encoder) -> bytes:
    """The bytes of a step."""
    match step:
        case ("open", stream_id, end, extra):
            block = encoder.encode([(*pair, True) for pair in [*headers(STREAM), *extra]])
            return frames.header_frames(stream_id, block, end, 2**14)
        case ("indexed", stream_id, end, extra, coded):
            block = encoder.encode([*headers(STREAM), *extra], huffman=coded)
            return frames.header_frames(stream_id, block, end, 2**14)
        case ("table", stream_id, size):  # a size update, at the start of the next block
            encoder.header_table_size = size
            block = encoder.encode(headers(STREAM))
            return frames.header_frames(stream_id, block, 0, 2**14)
        case ("split", stream_id, end, at):
            block = encoder.encode(headers(STREAM))
            rest = frames.head(frames.CONTINUATION, len(block[at:]), frames.END_HEADERS, stream_id) + block[at:]
            return frames.head(frames.HEADERS, len(block[:at]), end, stream_id) + block[:at] + rest
        case ("data", stream_id, end, message, padding):
            payload = grpc_frame(message)
            if padding is None:
                return frames.head(frames.DATA, len(payload), end, stream_id) + payload
            payload = bytes((padding,)) + payload + bytes(padding)
            return frames.head(frames.DATA, len(payload), end | frames.PADDED, stream_id) + payload
        case ("empty", stream_id, end):
            return frames.head(frames.DATA, 0, end, stream_id)
        case ("trailers", stream_id, end):
            return frames.header_frames(stream_id, encoder.encode([("x-t", "1", True)]), end, 2**14)
        case ("reset", stream_id):
            return frames.rst_stream(stream_id, 8)
        case ("window", stream_id, increment):
            return frames.window_update(stream_id, increment)
        case ("settings", key, value):
            return frames.head(frames.SETTINGS, 6, 0, 0) + key.to_bytes(2, "big") + value.to_bytes(4, "big")
        case ("ping", stream_id, size):
            return frames.head(frames.PING, size, 0, stream_id) + bytes(size)
        case ("priority", stream_id):
            return frames.head(frames.PRIORITY, 5, 0, stream_id) + b"\0\0\0\x63\x10"
        case ("raw", kind, flags, stream_id, payload):
            return frames.head(kind, len(payload), flags, stream_id) + payload
    raise AssertionError(step)


def differs_by_intent(sent: bytes, got: Outcome, refused: set[int], cancelled: set[int]) -> bool:
    """Where we follow RFC 9113 and h2 does not, or the RFC leaves it open.

    `refused`: streams that were reset for a fault, `cancelled`: by the caller.
    """
    kind, flags, stream_id, payload = cut(sent)[0]
    if kind == frames.RST_STREAM and got.refused == "connection":
        return True  # on an idle stream; h2 lets it pass
    if kind in (frames.HEADERS, frames.PUSH_PROMISE) and not flags & frames.END_HEADERS and got.refused == "connection":
        return True  # h2 waits for the rest of the header block first
    if kind == frames.HEADERS and flags & frames.PADDED and flags & frames.HAS_PRIORITY and got.refused == "connection":
        return payload[0] > len(payload) - 6  # padding beyond what the priority fields leave; h2 forgets these
    if kind == frames.SETTINGS and refused | cancelled and not got.refused:
        return True  # h2 still counts the window of a stream that was reset, and finds that it overflows
    if kind == frames.WINDOW_UPDATE and len(payload) == 4 and payload[0] >= 0x80:
        return True  # the reserved bit is to be ignored; h2 refuses it
    # What was under way for a stream already reset is dropped; h2 resets it again, or ends the connection.
    return stream_id in refused and not got.refused


def disagreement(steps: Iterable[Step], cuts: Iterable[Sequence[int]] = (), ours: Ours | None = None) -> str:
    """Feed both, frame by frame, until one gives up the connection; says where they differ, or nothing.

    `cuts`: for every step, where its bytes are torn before they reach us.
    """
    ours, theirs, encoder = ours or Ours(), Theirs(), hpack.Encoder()
    refused: set[int] = set()
    cancelled: set[int] = set()
    tears = iter(cuts)
    greeting = frames.PREFACE + frames.settings({})
    ours.feed(greeting)
    theirs.feed(greeting)
    for number, step in enumerate(steps):
        sent = render(step, encoder)
        places = sorted(at % (len(sent) + 1) for at in next(tears, ()))
        got, expected = ours.feed(sent, places), theirs.feed(sent)
        levels = (got.refused, expected.refused)
        if got != expected and not all(levels) and not differs_by_intent(sent, got, refused, cancelled):
            return f"step {number} {step}: we {got}, h2 {expected}"
        kind, _, stream_id, _ = cut(sent)[0]
        if "connection" in levels or kind == frames.GOAWAY:
            return ""  # after a GOAWAY of the client h2 takes nothing more; we go on with the calls that are open
        if got.refused:
            refused.add(stream_id)
        cancelled.update(got.cancelled)
    return ""
