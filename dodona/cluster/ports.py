"""Whether the ports to listen on are free, asked before a process is started that could only say so in its log."""

import errno
import socket
from contextlib import ExitStack
from typing import Final

from router.settings import RouterSettings

_FLAGS: Final = {"grpc_port": "--grpc-port", "http_port": "--http-port", "metrics_port": "--metrics-port"}
_WHY: Final = {
    errno.EADDRINUSE: "something else listens there",
    errno.EACCES: "ports below 1024 are the administrator's",
}


def taken_port(settings: RouterSettings) -> tuple[str, str]:
    """The first port that cannot be had, and what to do; two empty texts if there is none. What is neither taken nor
    forbidden is left to whoever listens."""
    with ExitStack() as held:  # all at once, so that one port for two listeners is noticed
        for name, flag in _FLAGS.items():
            port = getattr(settings, name)
            why = _refusal(settings.host, port, held) if port else ""
            if why:
                address = f"{settings.host}:{port}"
                return (
                    f"cannot listen on {address}: {why}",
                    f"choose another port with {flag} or router.{name}, 0 = any",
                )
    return "", ""


def _refusal(host: str, port: int, held: ExitStack) -> str:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return ""
    for family, kind, protocol, _, place in places:
        listener = held.enter_context(socket.socket(family, kind, protocol))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(place)
            listener.listen(1)
        except OSError as error:
            if error.errno in _WHY:
                return _WHY[error.errno]
    return ""
