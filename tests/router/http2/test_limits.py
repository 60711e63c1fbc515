"""The allowance that bounds floods, and limits that would break the protocol."""

import pytest

from router.http2.limits import Allowance, Http2Limits
from router.settings import Limits


def test_a_burst_then_a_rate() -> None:
    """The burst is there at once, then only what time brings."""
    allowance = Allowance(burst=3, per_s=2.0)
    assert [allowance.spend(10.0, 0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.spend(11.0, 0) for _ in range(3)] == [True, True, False]
    assert [allowance.spend(1000.0, 0) for _ in range(4)] == [True, True, True, False]


def test_work_done_refills() -> None:
    """One message sent pays for one frame, so a peer that gets answers never runs dry."""
    allowance = Allowance(burst=2, per_s=0.0)
    assert all(allowance.spend(0.0, work) for work in range(100))
    assert [allowance.spend(0.0, 99) for _ in range(2)] == [True, False]


def test_limits_follow_from_the_settings_a_user_sees() -> None:
    """Every bound of router.limits that concerns a connection arrives here."""
    limits = Http2Limits.of(
        Limits(max_message_bytes=1000, max_header_bytes=2000, max_streams_per_connection=3, max_connections=4)
    )
    assert (limits.max_message_bytes, limits.max_header_bytes) == (1000, 2000)
    assert (limits.max_streams, limits.max_connections) == (3, 4)
    assert limits.max_buffered_bytes >= limits.max_message_bytes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_frame_bytes", 1000),
        ("max_frame_bytes", 2**24),
        ("stream_window_bytes", 1000),
        ("connection_window_bytes", 0),
    ],
)
def test_limits_the_protocol_forbids(name: str, value: int) -> None:
    """They are refused by name, before any connection is made."""
    with pytest.raises(ValueError, match=name):
        Http2Limits(**{name: value})
