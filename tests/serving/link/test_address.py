"""Addresses of links."""

import pytest

from serving.link.address import parse_address


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("unix:/run/link.sock", ("unix", "/run/link.sock", 0)),
        ("unix:.dodona/link.sock", ("unix", ".dodona/link.sock", 0)),
        ("127.0.0.1:8003", ("tcp", "127.0.0.1", 8003)),
        ("router.example:8003", ("tcp", "router.example", 8003)),
        ("[::1]:8003", ("tcp", "::1", 8003)),
    ],
)
def test_addresses_are_unix_or_tcp(address, parsed):
    """A path after `unix:`, or host and port; IPv6 in brackets."""
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["", "unix:", "router", "router:", ":8003", "router:port", "router:70000"])
def test_what_is_no_address_is_refused(address):
    """The message says how to write one."""
    with pytest.raises(ValueError, match="write unix:PATH or HOST:PORT"):
        parse_address(address)
