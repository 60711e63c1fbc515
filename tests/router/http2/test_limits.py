"""The allowance that bounds floods, and limits that would break the protocol."""

import pytest

from router.http2.limits import Allowance, Http2Limits
from router.settings import Http2, Limits, RouterSettings
from serving.errors import ConfigurationError
from serving.settings import validate


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


def test_every_setting_of_router_http2_arrives_and_has_the_same_default() -> None:
    """An operator's value is used, and what is not set is what the front uses by itself."""
    assert Http2Limits.of(Limits(), Http2()) == Http2Limits.of(Limits())
    changed = {name: default * 2 for name, default in Http2().model_dump().items()}
    limits = Http2Limits.of(Limits(max_connection_age_s=7, max_connection_age_grace_s=3), Http2(**changed))
    assert {name: getattr(limits, name) for name in changed} == changed
    assert (limits.max_connection_age_s, limits.max_connection_age_grace_s) == (7, 3)


@pytest.mark.parametrize("name", ["stream_window_bytes", "connection_window_bytes"])
@pytest.mark.parametrize("value", [2 * Http2Limits().max_frame_bytes - 1, 2**31])
def test_windows_that_could_stall_are_refused_as_settings(name: str, value: int) -> None:
    """Already when the configuration is read, with the key's name."""
    with pytest.raises(ConfigurationError, match=rf"router\.http2\.{name}"):
        validate(RouterSettings, {"http2": {name: value}}, where="router")


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
