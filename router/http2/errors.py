"""Faults of an HTTP/2 connection, split by whose they are.

`LocalError`: we asked the core for something the protocol does not allow; a bug of ours, never sent to the peer.
`RemoteError`: the peer broke the protocol; the code goes out in GOAWAY and the connection ends.
`RemoteStreamError`: the peer broke the protocol on one stream; the code goes out in RST_STREAM, the rest lives on.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2Error(Exception):
    code = ErrorCode.INTERNAL_ERROR


class LocalError(Http2Error):
    """We broke the rules of the protocol or of this core."""


class RemoteError(Http2Error):
    """The peer did; `code` says how, the text goes out as debug text of GOAWAY."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class RemoteStreamError(RemoteError):
    """The peer did, on one stream only."""

    def __init__(self, stream_id: int, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)
        self.stream_id = stream_id


class MalformedRequest(Http2Error):
    """Headers that RFC 9113 section 8 calls malformed; whoever knows the stream makes it a RemoteStreamError."""
