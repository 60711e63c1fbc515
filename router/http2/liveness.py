"""Decisions that only time brings: whether a connection is still worth keeping, and which calls have stalled.

The owner asks now and then; asked twice at the same time, the answer is the same but for the PING, wanted once.
"""

from collections.abc import Iterable
from enum import Enum

from router.http2.limits import Http2Limits
from router.http2.streams import Stream


class Verdict(Enum):
    KEEP = "keep"
    PING = "ping"
    DROP = "drop"


class Liveness:
    """Of one connection. `seen_at` is set by the owner whenever bytes come in."""

    __slots__ = ("_buffered", "_limits", "_moved_at", "_pinged_at", "_since", "seen_at")

    def __init__(self, limits: Http2Limits, now: float) -> None:
        self._limits = limits
        self._since = now
        self._pinged_at: float | None = None
        self._buffered = 0
        self._moved_at = now
        self.seen_at = now

    def check(self, now: float, *, prefaced: bool, write_buffer_bytes: int) -> Verdict:
        """`prefaced`: the peer has introduced itself; `write_buffer_bytes`: what it has not taken from the socket."""
        limits = self._limits
        if not prefaced:
            return Verdict.DROP if now - self._since > limits.handshake_timeout_s else Verdict.KEEP
        if write_buffer_bytes < self._buffered or not write_buffer_bytes:
            self._moved_at = now
        self._buffered = write_buffer_bytes
        if now - self._moved_at > limits.write_stall_s:
            return Verdict.DROP
        if write_buffer_bytes:
            return Verdict.KEEP  # reading may be paused, so silence means nothing
        if now - self.seen_at < limits.keepalive_idle_s:
            self._pinged_at = None
            return Verdict.KEEP
        if self._pinged_at is None or self.seen_at > self._pinged_at:
            self._pinged_at = now
            return Verdict.PING
        return Verdict.DROP if now - self._pinged_at > limits.keepalive_timeout_s else Verdict.KEEP


def slow_uploads(streams: Iterable[Stream], limits: Http2Limits, now: float) -> list[Stream]:
    """Unary requests that have been arriving for longer than they may, or than their caller still waits."""
    return [stream for stream in streams if _is_slow(stream, limits.upload_timeout_s, now)]


def _is_slow(stream: Stream, upload_timeout_s: float, now: float) -> bool:
    if not stream.head.unary or stream.remote_closed:
        return False
    timeout_s = stream.head.timeout_s
    return now - stream.opened_at > (upload_timeout_s if timeout_s is None else min(timeout_s, upload_timeout_s))


def stalled(streams: Iterable[Stream], limits: Http2Limits, now: float) -> list[Stream]:
    """Calls whose waiting reply has not moved for `write_stall_s`, as far as was seen when this was asked before."""
    return [
        stream
        for stream in streams
        if stream.outbox is not None and stream.outbox.unmoved_s(now) > limits.write_stall_s
    ]
