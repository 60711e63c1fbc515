"""Whether a connection is read from its socket: both listeners close the tap while they have enough."""

import asyncio


class Valve:
    """Open at first, as a transport is."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True

    def set(self, transport: asyncio.Transport | None, *, wanted: bool) -> None:
        """Read from now on, or no longer. Without a transport, or with one that is closing, nothing changes."""
        if transport is None or wanted is self.open or transport.is_closing():
            return
        self.open = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()
