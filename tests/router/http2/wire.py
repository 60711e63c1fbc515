"""A connection under test with python-hyper's h2 client at the other end, in memory, on a clock that tests move."""

from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import hpack

from router.http2 import frames
from router.http2.connection import Connection
from router.http2.counters import Counters
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from router.http2.streams import Event, UnaryArrived

UNARY = "/a/Unary"
STREAM = "/a/Stream"
METHODS = {UNARY: True, STREAM: False}


def headers(path: str = UNARY, *extra: tuple[str, str], **replaced: str) -> list[tuple[str, str]]:
    """A gRPC request's headers; `replaced` sets a pseudo header or, with _ for -, another one ("" leaves it out)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    for name, value in replaced.items():
        plain = name.replace("_", "-")
        fields[f":{name}" if f":{name}" in fields else plain] = value
    return [(name, value) for name, value in fields.items() if value] + list(extra)


def grpc_frame(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def make(limits: Http2Limits | None = None) -> tuple[Connection, Counters]:
    limits = limits or Http2Limits()
    counters = Counters()
    return Connection(HeadReader(METHODS, limits), limits, counters), counters


class Wire:
    """`client` speaks h2; `pump` carries bytes both ways until nobody has any more to say."""

    def __init__(self, limits: Http2Limits | None = None, **client_settings: int) -> None:
        self.server, self.counters = make(limits)
        self.now = 0.0
        self.events: list[Event] = []
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.client = h2.connection.H2Connection(config)
        self.client.initiate_connection()
        if client_settings:
            codes = {getattr(h2.settings.SettingCodes, name): value for name, value in client_settings.items()}
            self.client.update_settings(codes)
        self.heard: list[h2.events.Event] = []
        self.pump()
        self.heard.clear()

    def pump(self) -> list[Event]:
        """The events the server gave; what the client heard is added to `heard`."""
        events: list[Event] = []
        while True:
            sent = self.client.data_to_send()
            if sent:
                events += self.server.receive(sent, self.now)
            answered = self.server.take()
            if answered:
                self.heard += self.client.receive_data(answered)
            if not (sent or answered):
                self.events += events
                return events

    def call(
        self, message: bytes = b"hi", path: str = UNARY, *extra: tuple[str, str], end: bool = True, **replaced: str
    ) -> int:
        """Send a request of one message; returns its stream id."""
        stream_id: int = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, headers(path, *extra, **replaced))
        self.client.send_data(stream_id, grpc_frame(message), end_stream=end)
        return stream_id

    def arrived(self) -> list[UnaryArrived]:
        return [event for event in self.events if isinstance(event, UnaryArrived)]

    def fields(self, stream_id: int) -> dict[str, str]:
        """Head and trailers the client got."""
        kinds = (h2.events.ResponseReceived, h2.events.TrailersReceived)
        fields = [event.headers for event in self.heard if isinstance(event, kinds) and event.stream_id == stream_id]
        return {name: value for block in fields for name, value in block}

    def body(self, stream_id: int) -> bytes:
        kind = h2.events.DataReceived
        return b"".join(event.data for event in self.heard if isinstance(event, kind) and event.stream_id == stream_id)

    def ended(self, stream_id: int) -> bool:
        return any(isinstance(e, h2.events.StreamEnded) and e.stream_id == stream_id for e in self.heard)

    def reset_code(self, stream_id: int) -> int | None:
        """The code of the server's RST_STREAM, if it sent one."""
        for event in self.heard:
            if isinstance(event, h2.events.StreamReset) and event.stream_id == stream_id:
                return int(event.error_code)
        return None

    def goaway_code(self) -> int | None:
        for event in self.heard:
            if isinstance(event, h2.events.ConnectionTerminated):
                return int(event.error_code)
        return None


class Raw:
    """A connection under test fed with hand-made frames, for what h2 would refuse to send."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.server, self.counters = make(limits)
        self.encoder = hpack.Encoder()
        self.now = 0.0
        self.feed(frames.PREFACE + frames.settings({}))
        self.server.take()

    def feed(self, *received: bytes) -> list[Event]:
        return list(self.server.receive(b"".join(received), self.now))

    def block(self, fields: Sequence[tuple[str, str]] | None = None) -> bytes:
        block: bytes = self.encoder.encode(headers() if fields is None else fields)
        return block

    def opening(self, stream_id: int, flags: int = 0, path: str = UNARY) -> bytes:
        """HEADERS of a call."""
        return frames.header_frames(stream_id, self.block(headers(path)), flags, 2**14)

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Frames the server wants sent: (type, flags, stream id, payload)."""
        return cut(self.server.take())


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.head(frames.DATA, len(payload), flags, stream_id) + payload


def request(wire: Raw, stream_id: int, message: bytes = b"hi") -> bytes:
    return wire.opening(stream_id) + data(stream_id, grpc_frame(message), frames.END_STREAM)


def cut(sent: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    start = 0
    while start < len(sent):
        word, flags, stream_id = frames.HEAD.unpack_from(sent, start)
        stop = start + frames.HEAD_BYTES + (word >> 8)
        found.append((word & 0xFF, flags, stream_id, sent[start + frames.HEAD_BYTES : stop]))
        start = stop
    return found


def goaway(sent: list[tuple[int, int, int, bytes]]) -> int | None:
    """The code of the last GOAWAY among the frames."""
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in sent if kind == frames.GOAWAY]
    return codes[-1] if codes else None


def resets(sent: list[tuple[int, int, int, bytes]]) -> dict[int, int]:
    """RST_STREAM among the frames: stream id to code."""
    return {sid: int.from_bytes(payload, "big") for kind, _, sid, payload in sent if kind == frames.RST_STREAM}
