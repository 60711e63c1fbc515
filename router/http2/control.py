"""Frames about the connection itself: SETTINGS, PING, GOAWAY, the connection's WINDOW_UPDATE, and what is ignored.

Whatever makes us answer, or carries nothing, is paid for from the control allowance. Draining takes two steps, so that
no call is lost: a GOAWAY that refuses nothing yet with a PING behind it, and, when the PING comes back, so that the
peer is known to have heard, one that names the last call taken.
"""

from typing import Final

from router.http2 import frames
from router.http2.errors import ErrorCode, RemoteError, RemoteStreamError
from router.http2.limits import Allowance, Http2Limits
from router.http2.sender import Sender
from router.http2.table import StreamTable

_DRAIN_PING: Final = b"draining"


class Control:
    __slots__ = ("_allowance", "_draining", "_sender", "_table", "greeted")

    def __init__(self, limits: Http2Limits, sender: Sender, table: StreamTable) -> None:
        self._sender = sender
        self._table = table
        self._allowance = Allowance(limits.control_burst, limits.control_per_s)
        self._draining = False
        self.greeted = False
        """The peer's first SETTINGS has come."""

    def read(self, kind: int, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        """Raises RemoteError."""
        if kind == frames.SETTINGS:
            self._on_settings(flags, stream_id, payload, now)
        elif kind == frames.PING:
            self._on_ping(flags, stream_id, payload, now)
        elif kind == frames.PRIORITY:
            self._on_priority(stream_id, payload, now)
        elif kind == frames.GOAWAY:
            if stream_id or len(payload) < 8:
                raise RemoteError(ErrorCode.PROTOCOL_ERROR, "malformed GOAWAY")
            self.spend(now)
        elif kind == frames.PUSH_PROMISE:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "a client may not push")
        else:
            self.spend(now)  # unknown types are ignored, as RFC 9113 asks

    def spend(self, now: float) -> None:
        """Pay for a frame that carries nothing. Raises RemoteError if there were too many."""
        if not self._allowance.spend(now, self._sender.messages):
            raise RemoteError(ErrorCode.ENHANCE_YOUR_CALM, "too many control or empty frames")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        if stream_id:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            self.spend(now)
            return
        self.spend(now)
        self._sender.apply_settings(frames.read_settings(payload), self._table.open.values())
        self._sender.control(frames.SETTINGS_ACK)
        self.greeted = True

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, now: float) -> None:
        if stream_id:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "PING is not 8 bytes")
        self.spend(now)
        if not flags & frames.ACK:
            self._sender.control(frames.ping(payload, frames.ACK))
        elif payload == _DRAIN_PING and self._draining:
            self.finish_drain()

    def _on_priority(self, stream_id: int, payload: bytes, now: float) -> None:
        if not stream_id:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes")
        self.spend(now)

    # For the owner.

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._sender.control(frames.ping(bytes(8)))

    def start_drain(self) -> None:
        """Tell the peer to open no more calls; `finish_drain` follows by itself once it has heard."""
        if self.greeted and not self._draining:
            self._draining = True
            self._sender.control(frames.goaway(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR, "draining"))
            self._sender.control(frames.ping(_DRAIN_PING))

    def finish_drain(self) -> None:
        """Refuse calls from here on; those already open go on. With none left the connection may be closed."""
        if not self._table.refusing:
            self._table.refusing = True
            if self.greeted:
                self._sender.control(frames.goaway(self._table.last_id, ErrorCode.NO_ERROR, "draining"))


def read_increment(stream_id: int, payload: bytes) -> int:
    """Payload of a WINDOW_UPDATE. Raises RemoteError, RemoteStreamError."""
    if len(payload) != 4:
        raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes")
    increment: int = frames.U32.unpack(payload)[0] & frames.MAX_WINDOW
    if increment:
        return increment
    if stream_id:
        raise RemoteStreamError(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
    raise RemoteError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
