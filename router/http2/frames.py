"""The 9-byte frame head and the small frames, as bytes (RFC 9113, sections 4 and 6)."""

from enum import IntEnum
from struct import Struct
from typing import Final

from router.http2.errors import ErrorCode, RemoteError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = Struct(">IBI")  # 24 bits of payload length and 8 of type, flags, stream id
HEAD_BYTES: Final = 9
U32: Final = Struct(">I")
_SETTING: Final = Struct(">HI")

MAX_STREAM_ID: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_BYTES: Final = 16_384
DEFAULT_TABLE_BYTES: Final = 4096
LARGEST_FRAME_BYTES: Final = 2**24 - 1

# Plain integers, not an enumeration: they are compared for every frame.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


SETTINGS_ACK: Final = HEAD.pack(SETTINGS, ACK, 0)


def head(kind: int, size: int, flags: int, stream_id: int) -> bytes:
    return HEAD.pack(size << 8 | kind, flags, stream_id)


def window_update(stream_id: int, increment: int) -> bytes:
    return head(WINDOW_UPDATE, 4, 0, stream_id) + U32.pack(increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    return head(RST_STREAM, 4, 0, stream_id) + U32.pack(code)


def goaway(last_stream_id: int, code: int, text: str = "") -> bytes:
    debug = text.encode()[:200]
    return head(GOAWAY, 8 + len(debug), 0, 0) + U32.pack(last_stream_id) + U32.pack(code) + debug


def ping(payload: bytes, flags: int = 0) -> bytes:
    return head(PING, 8, flags, 0) + payload


def settings(values: dict[Setting, int]) -> bytes:
    payload = b"".join(_SETTING.pack(key, value) for key, value in values.items())
    return head(SETTINGS, len(payload), 0, 0) + payload


def header_frames(stream_id: int, block: bytes, flags: int, max_frame_bytes: int) -> bytes:
    """HEADERS, and CONTINUATION where the block does not fit one frame."""
    if len(block) <= max_frame_bytes:
        return head(HEADERS, len(block), flags | END_HEADERS, stream_id) + block
    frames = [head(HEADERS, max_frame_bytes, flags, stream_id) + block[:max_frame_bytes]]
    for start in range(max_frame_bytes, len(block), max_frame_bytes):
        part = block[start : start + max_frame_bytes]
        last = END_HEADERS if start + len(part) == len(block) else 0
        frames.append(head(CONTINUATION, len(part), last, stream_id) + part)
    return b"".join(frames)


def strip(frame: bytes | memoryview, flags: int, start: int, stop: int) -> tuple[int, int]:
    """Bounds of the payload without padding and priority fields. Raises RemoteError if they do not fit."""
    padding = 0
    if flags & PADDED:
        if start == stop:
            raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a pad length")
        padding = frame[start]
        start += 1
    if flags & HAS_PRIORITY:
        start += 5
    if start > stop:
        raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "frame too short for its priority fields")
    if start + padding > stop:
        raise RemoteError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return start, stop - padding


def read_settings(payload: bytes) -> dict[int, int]:
    """The last value of every setting. Raises RemoteError for a size or value that RFC 9113 section 6.5 forbids.

    A setting that occurs a thousand times in one frame costs as much as one: only its last value is applied.
    """
    if len(payload) % 6:
        raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS is not a multiple of 6 bytes")
    values: dict[int, int] = {}
    for key, value in _SETTING.iter_unpack(payload):
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise RemoteError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
        if key == Setting.MAX_FRAME_SIZE and not DEFAULT_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE outside 2^14..2^24-1")
        if key == Setting.ENABLE_PUSH and value > 1:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        values[key] = value
    return values
