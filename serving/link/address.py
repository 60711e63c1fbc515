"""Addresses of a link: `unix:PATH` on one machine, `HOST:PORT` or `[V6]:PORT` between machines."""

from typing import Annotated

from pydantic import AfterValidator


def parse_address(address: str) -> tuple[str, str, int]:
    """("unix", path, 0) of `unix:PATH`, ("tcp", host, port) of `HOST:PORT` or `[V6]:PORT`. Raises ValueError."""
    if address.startswith("unix:") and len(address) > len("unix:"):
        return "unix", address.removeprefix("unix:"), 0
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not a link address; write unix:PATH or HOST:PORT")
    return "tcp", host.strip("[]"), int(port)


def _checked(address: str) -> str:
    parse_address(address)
    return address


LinkAddress = Annotated[str, AfterValidator(_checked)]
"""For settings: text that `parse_address` takes."""
