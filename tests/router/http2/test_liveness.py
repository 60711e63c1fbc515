"""What the passing of time ends."""

from router.http2 import frames
from router.http2.limits import Http2Limits
from router.http2.liveness import Liveness, Verdict, slow_uploads, stalled
from tests.router.http2.wire import STREAM, Raw, headers, request

LIMITS = Http2Limits(
    handshake_timeout_s=10, keepalive_idle_s=60, keepalive_timeout_s=20, write_stall_s=30, upload_timeout_s=100
)


def test_a_peer_that_never_introduces_itself() -> None:
    """It is dropped after the handshake timeout, even if it sends bytes."""
    live = Liveness(LIMITS, now=0.0)
    assert live.check(10.0, prefaced=False, write_buffer_bytes=0) is Verdict.KEEP
    live.seen_at = 10.0
    assert live.check(10.1, prefaced=False, write_buffer_bytes=0) is Verdict.DROP


def test_a_silent_peer_is_asked_once_and_then_dropped() -> None:
    """One PING after the idle time; any byte saves it."""
    live = Liveness(LIMITS, now=0.0)
    verdicts = [live.check(now, prefaced=True, write_buffer_bytes=0) for now in (59.0, 60.0, 65.0, 80.0, 80.1)]
    assert verdicts == [Verdict.KEEP, Verdict.PING, Verdict.KEEP, Verdict.KEEP, Verdict.DROP]
    live = Liveness(LIMITS, now=0.0)
    assert live.check(60.0, prefaced=True, write_buffer_bytes=0) is Verdict.PING
    live.seen_at = 61.0
    assert live.check(100.0, prefaced=True, write_buffer_bytes=0) is Verdict.KEEP
    assert live.check(121.0, prefaced=True, write_buffer_bytes=0) is Verdict.PING


def test_a_peer_that_takes_nothing() -> None:
    """Dropped after the stall time; every byte it takes starts the time anew."""
    live = Liveness(LIMITS, now=0.0)
    for now, waiting, verdict in (
        (100.0, 0, Verdict.PING),
        (110.0, 1000, Verdict.KEEP),
        (129.0, 1000, Verdict.KEEP),
        (130.0, 999, Verdict.KEEP),
        (160.0, 999, Verdict.KEEP),
        (160.1, 999, Verdict.DROP),
    ):
        assert live.check(now, prefaced=True, write_buffer_bytes=waiting) is verdict


def test_requests_that_never_end() -> None:
    """A unary request that dribbles in ends with its caller's deadline, or with the upload timeout; streams do not."""
    wire = Raw()
    wire.feed(wire.opening(1), wire.opening(3, path=STREAM))
    timed = frames.header_frames(5, wire.block(headers(grpc_timeout="5S")), 0, 2**14)
    wire.feed(timed, request(wire, 7))
    streams = wire.server.streams.values()
    assert [stream.id for stream in slow_uploads(streams, LIMITS, 5.0)] == []
    assert [stream.id for stream in slow_uploads(streams, LIMITS, 5.1)] == [5]
    assert [stream.id for stream in slow_uploads(streams, LIMITS, 100.1)] == [1, 5]


def test_replies_that_do_not_move() -> None:
    """A window that stays shut ends the call; one that moves, however slowly, does not."""
    wire = Raw()
    wire.feed(frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 10}))
    for stream_id in (1, 3):
        (event,) = wire.feed(request(wire, stream_id))
        wire.server.answers.reply(event.stream, bytes(100))
    wire.server.take()
    streams = wire.server.streams.values()
    assert stalled(streams, LIMITS, 100.0) == []
    wire.feed(frames.window_update(3, 1))
    wire.server.take()
    assert stalled(streams, LIMITS, 130.0) == []
    assert [stream.id for stream in stalled(streams, LIMITS, 130.1)] == [1]
