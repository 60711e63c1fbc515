"""Addresses of a link as settings write them: `unix:PATH`, `HOST:PORT` or `[V6]:PORT`."""


def parse_address(address: str) -> tuple[str, str, int]:
    """("unix", path, 0) of `unix:PATH`, ("tcp", host, port) of `HOST:PORT` or `[V6]:PORT`. Raises ValueError."""
    if address.startswith("unix:") and len(address) > len("unix:"):
        return "unix", address.removeprefix("unix:"), 0
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not a link address; write unix:PATH or HOST:PORT")
    return "tcp", host.strip("[]"), int(port)


def checked_address(address: str) -> str:
    """The address itself, for validators of settings. Raises ValueError with the forms that are allowed."""
    parse_address(address)
    return address
