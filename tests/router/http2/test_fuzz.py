"""Random sequences of frames, good and bad, read by us and by python-hyper's h2 server: both must take the same.

Compared after every frame: whether it was accepted, the calls opened, the messages delivered, the calls ended and
cancelled. What differs by intent is in `differs_by_intent`. Where one ends the connection and the other only the
stream (h2 is stricter for malformed headers), their states differ from there on, so the run ends.
"""

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

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
    opened: list[int] = field(default_factory=list)
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)


class Ours:
    def __init__(self) -> None:
        self.connection, _ = make(LIMITS)

    def feed(self, sent: bytes) -> Outcome:
        outcome = Outcome()
        for event in self.connection.receive(sent, 0.0):
            if isinstance(event, ConnectionFailed):
                outcome.refused = "connection"
            elif isinstance(event, CallOpened):
                outcome.opened.append(event.stream.id)
            elif isinstance(event, MessageArrived):
                outcome.messages.append((event.stream.id, event.packed[1]))
                self.connection.answers.consumed(event.stream, len(event.packed[1]))
            elif isinstance(event, HalfClosed):
                outcome.ended.append(event.stream.id)
            elif isinstance(event, CallGone):
                outcome.cancelled.append(event.stream.id)
        answered = cut(self.connection.take())
        if not outcome.refused and any(kind == frames.RST_STREAM for kind, *_ in answered):
            outcome.refused, outcome.cancelled = "stream", []
        return outcome


class Theirs:
    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
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
                outcome.opened.append(event.stream_id)
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


IDS = st.sampled_from([1, 1, 3, 3, 5, 7, 9, 0, 2])
MESSAGES = st.sampled_from([b"", b"m", b"x" * 300])
END = st.sampled_from([0, frames.END_STREAM])
INCREMENTS = st.sampled_from([0, 1, 1000, 2**31 - 1])
EXTRA = st.sampled_from(
    [(), (("x-a", "1"),), (("grpc-timeout", "1S"),), (("X-Upper", "1"),), (("connection", "x"),), ((":path", "/b"),)]
)
STEPS = st.one_of(
    st.tuples(st.just("open"), IDS, END, EXTRA),
    st.tuples(st.just("open"), st.sampled_from([1, 3, 5, 7]), END, st.just(())),
    st.tuples(st.just("split"), IDS, END, st.integers(0, 30)),
    st.tuples(st.just("data"), IDS, END, MESSAGES, st.sampled_from([None, 0, 7])),
    st.tuples(st.just("empty"), IDS, END),
    st.tuples(st.just("trailers"), IDS, END),
    st.tuples(st.just("reset"), IDS),
    st.tuples(st.just("window"), IDS, INCREMENTS),
    st.tuples(st.just("settings"), st.sampled_from([3, 4, 5, 6, 99]), st.sampled_from([0, 1, 16_384, 70_000, 2**31])),
    st.tuples(st.just("ping"), st.sampled_from([0, 3]), st.sampled_from([8, 8, 8, 7])),
    st.tuples(st.just("priority"), IDS),
    # DATA is left to the steps above, which keep to gRPC's framing; 10 is ALTSVC, which h2 knows and we need not.
    st.tuples(st.just("raw"), st.sampled_from([*range(1, 10), 0x42]), st.integers(0, 255), IDS, st.binary(max_size=12)),
)


def render(step: tuple, encoder: hpack.Encoder) -> bytes:
    """The bytes of a step."""
    match step:
        case ("open", stream_id, end, extra):
            block = encoder.encode([(*pair, True) for pair in [*headers(STREAM), *extra]])
            return frames.header_frames(stream_id, block, end, 2**14)
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


def differs_by_intent(sent: bytes, got: Outcome, refused: set[int]) -> bool:
    """Where we follow RFC 9113 and h2 does not, or the RFC leaves it open."""
    kind, flags, stream_id, payload = cut(sent)[0]
    if kind == frames.RST_STREAM and got.refused == "connection":
        return True  # on an idle stream; h2 lets it pass
    if kind in (frames.HEADERS, frames.PUSH_PROMISE) and not flags & frames.END_HEADERS and got.refused == "connection":
        return True  # h2 waits for the rest of the header block first
    if kind == frames.WINDOW_UPDATE and len(payload) == 4 and payload[0] >= 0x80:
        return True  # the reserved bit is to be ignored; h2 refuses it
    # What was under way for a stream already reset is dropped; h2 resets it again, or ends the connection.
    return stream_id in refused and not got.refused


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.lists(STEPS, max_size=25))
def test_we_take_what_h2_takes(steps: list[tuple]) -> None:
    """Frame by frame the same outcome, until one of the two has given up the connection."""
    ours, theirs, encoder = Ours(), Theirs(), hpack.Encoder()
    refused: set[int] = set()
    greeting = frames.PREFACE + frames.settings({})
    assert ours.feed(greeting) == theirs.feed(greeting)
    for step in steps:
        sent = render(step, encoder)
        got, expected = ours.feed(sent), theirs.feed(sent)
        levels = (got.refused, expected.refused)
        if got != expected and not all(levels):
            assert differs_by_intent(sent, got, refused), (step, got, expected)
        if "connection" in levels or cut(sent)[0][0] == frames.GOAWAY:
            return  # after a GOAWAY of the client h2 takes nothing more; we go on with the calls that are open
        if got.refused:
            refused.add(cut(sent)[0][2])


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_never_raises(sent: bytes, greeted: bool) -> None:
    """Whatever comes, `receive` returns and bytes to send can be taken."""
    connection, _ = make()
    if greeted:
        connection.receive(frames.PREFACE + frames.settings({}), 0.0)
    connection.receive(sent, 0.0)
    connection.take()
