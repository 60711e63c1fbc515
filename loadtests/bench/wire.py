"""Connections of the load generator: fixed requests out, whole answers in, as little between as Python allows.

`H2` speaks gRPC over HTTP/2 with prior knowledge, `H1` plain HTTP/1.1 with one request at a time. Both send the same
bytes again and again, so nothing is encoded during a load, and of an answer only what tells right from wrong is read:
that it came, and how many bytes its body has (a gRPC error has none). `begin` takes the caller's number of a request,
`received` says which numbers have been answered, and whether well. Flow control of small requests is kept to; a body
must fit one frame.
"""

import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_BODY: Final = 16_384
DEFAULT_WINDOW: Final = 65_535
CONNECT_TIMEOUT_S: Final = 10.0
_HEAD: Final = struct.Struct(">HBBBI")  # length (two fields), type, flags, stream
_SETTING: Final = struct.Struct(">HI")
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_TABLE_SIZE, _MAX_STREAMS, _INITIAL_WINDOW = 1, 3, 4
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_WIDE: Final = 2**31 - 1
_TABLE: Final = 4_096
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """What is sent every time. `answer_bytes`: of a right answer's body; None: any will do. `http1`: REST."""

    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    answer_bytes: int | None
    http1: bool = False


class Broken(RuntimeError):
    """The server closed the connection, or does what this client cannot follow."""


class _Connection:
    room: int
    """How many more requests it takes now."""

    def __init__(self, message: Message) -> None:
        self.socket = socket.create_connection((message.host, message.port), CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._out = bytearray()
        self._answer_bytes = message.answer_bytes

    def close(self) -> None:
        self.socket.close()

    def flush(self) -> None:
        """Write what waits; what the socket does not take is kept for the next time."""
        if self._out:
            try:
                sent = self.socket.send(self._out)
            except BlockingIOError:
                return
            except OSError as error:
                raise Broken(f"the server closed the connection: {error}") from error
            del self._out[:sent]

    @property
    def waiting(self) -> bool:
        return bool(self._out)

    def _read(self) -> bytes:
        try:
            read = self.socket.recv(262_144)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Broken(f"the server closed the connection: {error}") from error
        if not read:
            raise Broken("the server closed the connection")
        return read


class H2(_Connection):
    def __init__(self, message: Message) -> None:
        if len(message.body) > LARGEST_BODY:
            raise ValueError(f"a body of {len(message.body)} bytes: at most {LARGEST_BODY} fit one frame")
        super().__init__(message)
        encoder = hpack.Encoder()
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", message.path),
            (":authority", f"{message.host}:{message.port}"),
            *message.headers,
        ]
        # The first block fills the server's table, the others refer to it, as any client's do.
        first, again = encoder.encode(fields), encoder.encode(fields)
        self._first, self._again = (_frame(_HEADERS, _END_HEADERS, 0, block) for block in (first, again))
        self._body = _frame(_DATA, _END_STREAM, 0, message.body)
        self._size = len(message.body)
        self._stream = 1
        self._window = DEFAULT_WINDOW
        self._streams = _WIDE
        self._kept = b""
        self._open: dict[int, int] = {}
        self._data: dict[int, int] = {}
        settings = _SETTING.pack(_INITIAL_WINDOW, _WIDE)
        self._out += PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, struct.pack(">I", 2**30))
        self.flush()
        self._settled = False
        try:
            while not self._settled:
                self.received()
            self.flush()
        except Broken:
            self.close()
            raise
        self.socket.setblocking(False)

    @property
    def room(self) -> int:  # type: ignore[override]
        return min(self._streams - len(self._open), self._window // self._size if self._size else _WIDE)

    def begin(self, number: int) -> None:
        stream = self._stream
        identifier = stream.to_bytes(4)
        head = self._again if stream > 1 else self._first
        out, body = self._out, self._body
        out += head[:5] + identifier + head[9:] + body[:5] + identifier + body[9:]
        self._open[stream] = number
        self._stream = stream + 2
        self._window -= self._size

    def received(self) -> Sequence[tuple[int, bool]]:
        """Raises Broken."""
        text = self._kept + self._read()
        end, at = len(text), 0
        answered: list[tuple[int, bool]] = []
        while at + 9 <= end:
            high, low, kind, flags, stream = _HEAD.unpack_from(text, at)
            length = high << 8 | low
            if at + 9 + length > end:
                break
            at += 9 + length
            if kind == _DATA:
                self._data[stream] = self._data.get(stream, 0) + length
            elif kind > _HEADERS:
                self._control(kind, flags, stream, text[at - length : at], answered)
                continue
            if flags & _END_STREAM:
                number = self._open.pop(stream, None)
                size = self._data.pop(stream, 0)
                if number is not None:
                    right = self._answer_bytes
                    answered.append((number, size == right if right is not None else size > 0))
        self._kept = text[at:]
        return answered

    def _control(self, kind: int, flags: int, stream: int, payload: bytes, answered: list[tuple[int, bool]]) -> None:
        if kind == _WINDOW:
            if stream == 0:
                self._window += struct.unpack(">I", payload)[0]
        elif kind == _PING and not flags & _ACK:
            self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            settings = dict(_SETTING.iter_unpack(payload))
            if settings.get(_TABLE_SIZE, _TABLE) < _TABLE:
                raise Broken(f"the server takes a header table of {settings[_TABLE_SIZE]} bytes only")
            self._streams = settings.get(_MAX_STREAMS, self._streams)
            self._out += _frame(_SETTINGS, _ACK, 0, b"")
            self._settled = True
        elif kind == _RST:
            number = self._open.pop(stream, None)
            self._data.pop(stream, None)
            if number is not None:
                answered.append((number, False))
        elif kind == _GOAWAY:
            raise Broken(f"the server says GOAWAY: {payload[8:200]!r}")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


class H1(_Connection):
    def __init__(self, message: Message) -> None:
        super().__init__(message)
        head = "".join(f"{name}: {value}\r\n" for name, value in message.headers)
        self._request = (
            f"POST {message.path} HTTP/1.1\r\nhost: {message.host}:{message.port}\r\n{head}"
            f"content-length: {len(message.body)}\r\n\r\n"
        ).encode() + message.body
        self._number = -1
        self._kept = b""
        self.room = 1
        self.socket.setblocking(False)

    def begin(self, number: int) -> None:
        self._out += self._request
        self._number = number
        self.room = 0

    def received(self) -> Sequence[tuple[int, bool]]:
        """Raises Broken."""
        text = self._kept + self._read()
        end = text.find(b"\r\n\r\n")
        if end < 0:
            self._kept = text
            return ()
        length = _LENGTH.search(text, 0, end + 2)
        if length is not None:
            size, after = int(length[1]), end + 4 + int(length[1])
        elif _CHUNKED.search(text, 0, end + 2):
            size, after = chunked(text, end + 4)
        else:
            raise Broken(f"an answer without content-length: {text[:200]!r}")
        if len(text) < after:
            self._kept = text
            return ()
        self._kept = text[after:]
        number, self._number, self.room = self._number, -1, 1
        right = self._answer_bytes
        return ((number, text[9:12] == b"200" and (right is None or right == size)),)


def chunked(text: bytes, at: int) -> tuple[int, int]:
    """(bytes of the body, where the answer ends), from where the first chunk begins; the end lies beyond the text while
    something is missing. Chunks have neither extensions nor trailers here."""
    size = 0
    while (line := text.find(b"\r\n", at)) >= 0:
        length = int(text[at:line], 16)
        at = line + 4 + length
        if not length:
            return size, at
        size += length
    return size, len(text) + 1
