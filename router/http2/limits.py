"""Every bound of an HTTP/2 connection, named, and the allowance that bounds floods.

Frames that cost the server more than the peer (PING, SETTINGS, empty DATA, RST_STREAM, whatever makes us reset a
stream) are paid for from an allowance: a burst, refilled with time and with every message we send. The second source
is what keeps honest peers unharmed: some clients send one PING per reply (grpc-go's bandwidth estimator), and a busy
proxy may cancel many calls, but both also complete calls. A flood completes none.

Known attacks and the bound that stops each: rapid reset and MadeYouReset `reset_*`; PING, SETTINGS, PRIORITY, empty
DATA and unknown-frame floods `control_*`; CONTINUATION flood `max_header_block_bytes` and `max_continuations`; HPACK
bomb `max_header_bytes`; gzip bomb `max_message_bytes`; many half-sent messages `max_buffered_bytes`; replies nobody
reads `max_queued_bytes`, `write_buffer_bytes` and `write_stall_s`; requests that never end `upload_timeout_s`; silent
peers `handshake_timeout_s` and `keepalive_*`. docs/reference/http2.md has the table of attacks, answers and tests.
"""

from dataclasses import dataclass
from typing import Self

from router.http2.frames import DEFAULT_FRAME_BYTES, DEFAULT_WINDOW, LARGEST_FRAME_BYTES, MAX_WINDOW
from router.settings import Http2, Limits


@dataclass(frozen=True, slots=True)
class Http2Limits:
    max_message_bytes: int = 64 * 1024 * 1024
    """One gRPC message, either way, after decompression."""
    max_header_bytes: int = 16 * 1024
    """Header list of one request, decoded, 32 bytes added per field (SETTINGS_MAX_HEADER_LIST_SIZE)."""
    max_header_block_bytes: int = 64 * 1024
    """One header block as it travels; past it the connection ends."""
    max_continuations: int = 32
    """CONTINUATION frames of one header block."""
    max_streams: int = 1024
    """Open calls of one connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    max_connections: int = 10_000
    """Open connections of one listener."""
    max_frame_bytes: int = 64 * 1024
    """Payload of one frame from the peer (SETTINGS_MAX_FRAME_SIZE)."""
    stream_window_bytes: int = 1024 * 1024
    """Flow-control window of one call, from the caller to us."""
    connection_window_bytes: int = 4 * 1024 * 1024
    """Flow-control window of one connection, from the caller to us."""
    max_buffered_bytes: int = 256 * 1024 * 1024
    """Request bytes of one connection that no edge has taken yet: half-sent messages, unread stream messages."""
    max_queued_bytes: int = 256 * 1024 * 1024
    """Reply bytes of one connection that wait for the caller's flow-control window."""
    write_quantum_bytes: int = 256 * 1024
    """Waiting reply bytes moved to the transport per event-loop turn."""
    write_buffer_bytes: int = 1024 * 1024
    """Bytes in the transport's write buffer above which nothing more is sent or read."""
    control_burst: int = 1000
    """Frames that cost us and carry nothing (PING, SETTINGS, empty DATA ...) tolerated at once."""
    control_per_s: float = 100.0
    """Refill of that allowance, frames per second; each message sent adds one more."""
    reset_burst: int = 2000
    """Calls cancelled by the caller, or reset for its faults, tolerated at once."""
    reset_per_s: float = 500.0
    """Refill of that allowance; each message sent adds one more."""
    max_status_bytes: int = 4096
    """Text of an error (`grpc-message`), encoded."""
    head_cache_entries: int = 16
    """Decoded header blocks kept per connection."""
    handshake_timeout_s: float = 10.0
    """Seconds until the connection preface must have come."""
    keepalive_idle_s: float = 60.0
    """Seconds of silence after which a PING is sent."""
    keepalive_timeout_s: float = 20.0
    """Seconds of silence after that PING, after which the connection is closed."""
    write_stall_s: float = 60.0
    """Seconds in which the caller takes no byte of what waits for it, after which the connection is closed."""
    upload_timeout_s: float = 120.0
    """Seconds a unary request may take to arrive in full."""
    linger_s: float = 1.0
    """Seconds that a peer gets to read our last bytes, GOAWAY among them, and to close its end."""
    linger_bytes: int = 16 * 1024 * 1024
    """Bytes of it thrown away meanwhile."""
    inflate_at_once_bytes: int = 128 * 1024
    """Of a compressed message, either way; a larger one is inflated on a thread."""
    max_connection_age_s: float = 0.0
    """Seconds after which a connection is asked to end; 0 = never."""
    max_connection_age_grace_s: float = 30.0
    """Seconds that its calls get to finish then."""

    def __post_init__(self) -> None:
        """Raises ValueError for values the protocol forbids, or that could stall a connection."""
        if not DEFAULT_FRAME_BYTES <= self.max_frame_bytes <= LARGEST_FRAME_BYTES:
            raise ValueError(f"max_frame_bytes must be within {DEFAULT_FRAME_BYTES}..{LARGEST_FRAME_BYTES}")
        for name in ("stream_window_bytes", "connection_window_bytes"):
            # Below the default the peer could overrun the window before it has seen our SETTINGS; below two frames
            # the update sent at half of the window could come too late for a frame.
            if not max(DEFAULT_WINDOW, 2 * self.max_frame_bytes) <= getattr(self, name) <= MAX_WINDOW:
                raise ValueError(f"{name} must be at least {DEFAULT_WINDOW}, two frames, and at most {MAX_WINDOW}")

    @classmethod
    def of(cls, limits: Limits, http2: Http2 | None = None) -> Self:
        """From the settings a user sees; one connection may buffer four messages of the largest size."""
        return cls(
            max_message_bytes=limits.max_message_bytes,
            max_header_bytes=limits.max_header_bytes,
            max_header_block_bytes=4 * limits.max_header_bytes,
            max_streams=limits.max_streams_per_connection,
            max_connections=limits.max_connections,
            max_buffered_bytes=4 * limits.max_message_bytes,
            max_queued_bytes=4 * limits.max_message_bytes,
            max_connection_age_s=limits.max_connection_age_s,
            max_connection_age_grace_s=limits.max_connection_age_grace_s,
            **(http2.model_dump() if http2 is not None else {}),
        )


class Allowance:
    """A token bucket filled by time and by useful work, settled only when something is spent."""

    __slots__ = ("_burst", "_per_s", "_seen_at", "_seen_work", "_tokens")

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._seen_at: float | None = None
        self._seen_work = 0

    def spend(self, now: float, work: int) -> bool:
        """Take one token at `now` seconds, `work` messages having been sent so far; False if there is none."""
        elapsed = 0.0 if self._seen_at is None else now - self._seen_at
        gained = elapsed * self._per_s + (work - self._seen_work)
        self._tokens = min(self._burst, self._tokens + gained) - 1
        self._seen_at = now
        self._seen_work = work
        if self._tokens < 0:
            self._tokens = 0.0
            return False
        return True
