"""The kernel's buffers of a link: a frame with a large tensor should not have to be handed over in parts."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

BUFFER_BYTES: Final = 4 * 1024 * 1024


def widen(transport: asyncio.BaseTransport) -> None:
    """Ask for room for several such frames; the kernel gives what its limits allow (net.core.wmem_max)."""
    link = transport.get_extra_info("socket")
    if link is not None and link.family == getattr(socket, "AF_UNIX", None):  # TCP's grow by themselves
        with suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
