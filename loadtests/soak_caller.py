"""A caller of the soak: one gRPC connection of its own making, many calls in flight, every answer checked.

Written on the bare protocol, so that a million answers can be checked in a minute or two. It follows what a good client
does: keeps to the server's flow-control windows, leaves a connection that says GOAWAY and sends anew what that
connection has not taken. A call that is answered twice, with another call's answer, or not at all, is a fault.
"""

import asyncio
import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final

import hpack
import numpy as np

from protos import inference_pb2
from router.http2 import frames, replies

PATH: Final = "/inference.GRPCInferenceService/ModelInfer"
MODEL: Final = "soak"
ANSWER_WITHIN_S: Final = 60.0
_ROWS: Final = (1, 1, 1, 1, 1, 1, 2, 5, 32)
_RARELY_ROWS: Final = 250  # times 200 requests; 250 x 64 bytes are a frame and more with its neighbours
_FEATURES: Final = 16
_PREFIX: Final = struct.Struct(">BI")
_ID: Final = b"\x1a"  # field 3 of ModelInferRequest, length-delimited
_RAW: Final = b"\x3a"  # field 7


def header_fields(*extra: tuple[str, str]) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", "soak"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "60S"),
        *extra,
    ]


class Questions:
    """Makes requests that no other caller makes: the number is in the id and fills the tensor."""

    def __init__(self, origin: int) -> None:
        self._next = origin
        self._random = random.Random(origin)
        self._templates = {rows: _template(rows) for rows in {*_ROWS, _RARELY_ROWS}}

    def next(self) -> tuple[bytes, bytes, bytes]:
        """(gRPC message with its prefix, id, the tensor's bytes)."""
        number = self._next
        self._next += 1
        rows = _RARELY_ROWS if number % 200 == 0 else self._random.choice(_ROWS)
        name = b"%d" % number
        tensor = struct.pack("<Q", number) * (rows * _FEATURES // 2)
        body = self._templates[rows] + _ID + _varint(len(name)) + name + _RAW + _varint(len(tensor)) + tensor
        return _PREFIX.pack(0, len(body)) + body, name, tensor


def _template(rows: int) -> bytes:
    request = inference_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="x", datatype="FP32", shape=[rows, _FEATURES])
    return bytes(request.SerializeToString())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Call:
    __slots__ = ("body", "message", "name", "sent_at", "tensor")

    def __init__(self, message: bytes, name: bytes, tensor: bytes) -> None:
        self.message = message
        self.name = name
        self.tensor = tensor
        self.body = b""
        self.sent_at = 0.0


class Caller(asyncio.Protocol):
    """`ask` gives the next call or None when there are no more; `report` hears of every answer: "" or the fault."""

    def __init__(
        self,
        streams: int,
        ask: Callable[[], Call | None],
        report: Callable[[Call, str], None],
        again: Callable[[Call], None],
        *,
        steady_blocks: bool,
    ) -> None:
        self._streams = streams
        self._ask = ask
        self._report = report
        self._again = again
        self._steady_blocks = steady_blocks
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        # Never indexed, so it stands whatever else the table holds.
        self._block: bytes = self._encoder.encode([(*pair, True) for pair in header_fields()])
        self._kept = b""
        self._next_id = 1
        self._window = frames.DEFAULT_WINDOW
        self._uncredited = 0
        self._transport: asyncio.Transport | None = None
        self.open: dict[int, Call] = {}
        self.leaving = False
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._write(frames.PREFACE + frames.settings({}))
        self._fill()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for call in self.open.values():
            self._report(call, f"connection lost with the call open: {exc}")
        self.open.clear()
        self.closed.set()

    def leave(self) -> None:
        """Begin no more calls; close when those open are answered."""
        self.leaving = True
        if not self.open and self._transport is not None:
            self._transport.close()

    def overdue(self, now: float) -> Iterator[Call]:
        return (call for call in self.open.values() if now - call.sent_at > ANSWER_WITHIN_S)

    def data_received(self, received: bytes) -> None:
        received = self._kept + received
        start, end = 0, len(received)
        while end - start >= frames.HEAD_BYTES:
            word, flags, stream_id = frames.HEAD.unpack_from(received, start)
            stop = start + frames.HEAD_BYTES + (word >> 8)
            if stop > end:
                break
            self._frame(word & 0xFF, flags, stream_id, received[start + frames.HEAD_BYTES : stop])
            start = stop
        self._kept = received[start:]
        self._fill()

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.DATA:
            self._on_data(stream_id, payload)
        elif kind == frames.HEADERS:
            self._on_headers(flags, stream_id, payload)
        elif kind == frames.WINDOW_UPDATE and not stream_id:
            self._window += int.from_bytes(payload, "big")
        elif kind == frames.PING and not flags & frames.ACK:
            self._write(frames.ping(payload, frames.ACK))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._write(frames.SETTINGS_ACK)
        elif kind == frames.GOAWAY:
            self._on_goaway(payload)
        elif kind == frames.RST_STREAM:
            call = self.open.pop(stream_id, None)
            if call is not None and int.from_bytes(payload, "big") == 7:  # REFUSED_STREAM: not taken
                self._again(call)
            elif call is not None:
                self._report(call, f"reset with code {int.from_bytes(payload, 'big')}")

    def _on_data(self, stream_id: int, payload: bytes) -> None:
        self._uncredited += len(payload)
        if self._uncredited > frames.DEFAULT_WINDOW // 2:
            self._write(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        call = self.open.get(stream_id)
        if call is None:
            raise AssertionError(f"DATA on stream {stream_id}, which is not open: answered twice")
        call.body += payload

    def _on_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        fields: dict[str, str] = {}
        if not (self._steady_blocks and (block == replies.OK_TRAILERS or block.startswith(replies.OK_HEAD))):
            fields = dict(self._decoder.decode(block))
        if not flags & frames.END_STREAM:
            return
        call = self.open.pop(stream_id, None)
        if call is None:
            raise AssertionError(f"trailers on stream {stream_id}, which is not open: answered twice")
        status = fields.get("grpc-status", "0")
        if status == "0":
            self._report(call, wrong(call))
        else:
            self._report(call, f"grpc-status {status}: {fields.get('grpc-message')}")

    def _on_goaway(self, payload: bytes) -> None:
        last, code = struct.unpack(">II", payload[:8])
        if code:
            raise AssertionError(f"GOAWAY with code {code}: {payload[8:]!r}")
        self.leaving = True
        for stream_id in [stream_id for stream_id in self.open if stream_id > last]:
            self._again(self.open.pop(stream_id))

    def _fill(self) -> None:
        """Begin as many calls as there is room for."""
        out = []
        now = time.monotonic()
        while not self.leaving and len(self.open) < self._streams and self._window > frames.DEFAULT_WINDOW // 3:
            call = self._ask()
            if call is None:
                self.leaving = True
                break
            call.sent_at = now
            call.body = b""
            out.append(self._begin(call))
        if out:
            self._write(b"".join(out))
        if self.leaving and not self.open and self._transport is not None:
            self._transport.close()

    def _begin(self, call: Call) -> bytes:
        stream_id = self._next_id
        self._next_id += 2
        self.open[stream_id] = call
        block = self._block
        if stream_id % 32 == 1:  # some with a field of their own, which goes into the table
            block = self._encoder.encode(header_fields(("traceparent", f"00-{os.urandom(16).hex()}-{'1' * 16}-01")))
        message = call.message
        self._window -= len(message)
        parts = [frames.header_frames(stream_id, block, 0, 2**14)]
        for start in range(0, len(message), 2**14):
            piece = message[start : start + 2**14]
            end = frames.END_STREAM if start + len(piece) == len(message) else 0
            parts.append(frames.head(frames.DATA, len(piece), end, stream_id) + piece)
        return b"".join(parts)

    def _write(self, sent: bytes) -> None:
        if self._transport is not None:
            self._transport.write(sent)


def wrong(call: Call) -> str:
    """What is wrong with the answer, or nothing."""
    size = _PREFIX.unpack_from(call.body)[1] if len(call.body) >= 5 else -1
    if size != len(call.body) - 5:
        return f"the answer has {len(call.body) - 5} bytes, its prefix says {size}"
    reply = inference_pb2.ModelInferResponse.FromString(call.body[5:])
    if reply.id.encode() != call.name:
        return f"asked {call.name.decode()}, answered {reply.id}"
    if list(reply.raw_output_contents) != [call.tensor]:
        got = np.frombuffer(b"".join(reply.raw_output_contents)[:8], "<u8")
        return f"asked {call.name.decode()}, the tensor is that of {got}"
    return ""
