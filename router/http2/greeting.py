"""What a peer hears first: our SETTINGS, or, if it does not speak HTTP/2, why not, in words that it understands."""

from typing import Final

from router.http2 import frames
from router.http2.limits import Http2Limits

_NOT_HTTP2: Final = b"this port speaks gRPC, over HTTP/2 only\n"
HTTP1_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s"
    % (len(_NOT_HTTP2), _NOT_HTTP2)
)


def greeting(limits: Http2Limits) -> bytes:
    values = {
        frames.Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
        frames.Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        frames.Setting.MAX_FRAME_SIZE: limits.max_frame_bytes,
        frames.Setting.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
    }
    growth = limits.connection_window_bytes - frames.DEFAULT_WINDOW
    return frames.settings(values) + (frames.window_update(0, growth) if growth else b"")
