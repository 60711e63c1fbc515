"""Ports that cannot be had are noticed before anything starts."""

import socket

import pytest

from dodona.cluster.ports import taken_port
from router.settings import RouterSettings


def settings(**ports: int) -> RouterSettings:
    return RouterSettings(**({"grpc_port": 0, "http_port": 0, "metrics_port": 0} | ports))


@pytest.mark.parametrize("name", ["grpc_port", "http_port", "metrics_port"])
def test_a_taken_port_is_named_with_its_option(name: str) -> None:
    """Whichever of the three it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message, remedy = taken_port(settings(**{name: port}))
    assert message == f"cannot listen on 127.0.0.1:{port}: something else listens there"
    assert f"--{name.replace('_', '-')} or router.{name}" in remedy


def test_one_port_for_two_is_noticed() -> None:
    """Each would be free for itself."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "--http-port" in taken_port(settings(grpc_port=port, http_port=port))[1]


def test_free_ports_are_left_free() -> None:
    """Asking does not take them, and any free port needs no asking."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert taken_port(settings(grpc_port=port)) == ("", "")
    assert taken_port(settings(grpc_port=port)) == ("", "")
    assert taken_port(settings()) == ("", "")
