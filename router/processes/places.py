"""Where a router's processes listen: one gRPC and one REST port for all, one link address each.

The parent holds both ports with sockets that do not listen, so that they stay the router's while a process is replaced,
and so that `port 0` is the same port for every process. A socket that shares a port (SO_REUSEPORT) would also share it
with a second router of the same user; so the port is asked for alone first.
"""

import socket
from contextlib import ExitStack
from typing import Final

from router.settings import RouterSettings
from serving.link.address import parse_address

_TRIES: Final = 50


class Places:
    """Raises OSError naming the setting whose port is taken. `close` gives the ports back."""

    def __init__(self, settings: RouterSettings) -> None:
        self._held = ExitStack()
        try:
            self.grpc_port = self._hold("grpc_port", settings.host, settings.grpc_port)
            self.http_port = self._hold("http_port", settings.host, settings.http_port)
        except BaseException:
            self.close()
            raise
        self.links = link_addresses(settings.link.address, settings.processes)

    def close(self) -> None:
        self._held.close()

    def settings_of(self, settings: RouterSettings, number: int) -> RouterSettings:
        """What the process of this number is told."""
        return settings.model_copy(
            update={
                "grpc_port": self.grpc_port,
                "http_port": self.http_port,
                "link": settings.link.model_copy(update={"address": self.links[number]}),
            }
        )

    def _hold(self, setting: str, host: str, port: int) -> int:
        try:
            for family, kind, protocol, _, place in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                if port:
                    _ask_alone(family, (place[0], port, *place[2:]))
                held = self._held.enter_context(_socket(family, kind, protocol))
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held.bind((place[0], port, *place[2:]))
                port = int(held.getsockname()[1])
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OSError(f"router.{setting} = {port}: {reason}; stop what uses it or choose another") from error
        return port


def link_addresses(address: str, processes: int) -> tuple[str, ...]:
    """The configured address for the first process; for process k `.k` behind the path of a unix socket, k ports
    further on TCP. Raises OSError if no ports in a row are free where any will do."""
    kind, host, port = parse_address(address)
    if kind == "unix":
        return (address, *(f"{address}.{number}" for number in range(1, processes)))
    shown = f"[{host}]" if ":" in host else host
    if port + processes - 1 > 65535:
        raise OSError(
            f"router.link.address = {address}: there are no {processes} ports from there on; choose a lower one"
        )
    first = port or _free_row(host, processes)
    return tuple(f"{shown}:{first + number}" for number in range(processes))


def _free_row(host: str, count: int) -> int:
    """The first of so many free ports in a row."""
    family, _, _, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    for _ in range(_TRIES):
        with ExitStack() as held:
            try:
                port = 0
                for number in range(count):
                    listener = held.enter_context(_socket(family))
                    listener.bind((place[0], port + number if port else 0, *place[2:]))
                    port = port or int(listener.getsockname()[1])
            except (OSError, OverflowError):
                continue
            return port
    raise OSError(f"router.link.address: no {count} free ports in a row on {host}; name the first one")


def _ask_alone(family: int, place: tuple[object, ...]) -> None:
    with _socket(family) as asking:
        asking.bind(place)
        asking.listen(1)


def _socket(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
