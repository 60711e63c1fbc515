"""Where a router's processes listen."""

import socket

import pytest

from router.processes.places import Places, link_addresses
from router.settings import Link, RouterSettings


def settings(**more) -> RouterSettings:
    return RouterSettings(**{"processes": 3, "grpc_port": 0, "http_port": 0, **more})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("unix:run/link.sock", ("unix:run/link.sock", "unix:run/link.sock.1", "unix:run/link.sock.2")),
        ("127.0.0.1:9001", ("127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003")),
        ("[::1]:9001", ("[::1]:9001", "[::1]:9002", "[::1]:9003")),
    ],
)
def test_each_has_a_link_of_its_own(address, expected):
    """The first has the configured address, as a router of one process would."""
    assert link_addresses(address, 3) == expected


def test_any_link_port_is_a_row_of_free_ones():
    """So that a restart finds them again from the first."""
    ports = [int(address.rpartition(":")[2]) for address in link_addresses("127.0.0.1:0", 3)]
    assert ports == list(range(ports[0], ports[0] + 3))


def test_a_row_of_ports_ends_at_the_last():
    """Too high a port is refused in words."""
    with pytest.raises(OSError, match=r"router\.link\.address = 127\.0\.0\.1:65534: .* choose a lower one"):
        link_addresses("127.0.0.1:65534", 3)


def test_a_taken_port_is_refused_though_it_could_be_shared():
    """A second router must not silently take half of the first one's connections."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"router\.grpc_port = {port}: address already in use"):
            Places(settings(grpc_port=port))


def test_processes_get_one_port_and_keep_it():
    """`0 = any` is the same port for all; it is held, and taken by nobody else, while none of them listens."""
    wanted = settings()
    places = Places(wanted)
    told = [places.settings_of(wanted, number) for number in range(3)]
    assert len({(one.grpc_port, one.http_port) for one in told}) == 1
    assert told[0].grpc_port != told[0].http_port
    assert [one.link.address for one in told] == [f"{Link().address}{suffix}" for suffix in ("", ".1", ".2")]
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", told[0].grpc_port))
    places.close()
