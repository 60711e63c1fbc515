"""What a listener's connections count, as plain integers, for whoever exports metrics to read when scraped."""


class Counters:
    __slots__ = (
        "aged",
        "connections",
        "connections_open",
        "connections_refused",
        "dropped",
        "failures",
        "refused",
        "resets_received",
        "resets_sent",
        "streams",
    )

    def __init__(self) -> None:
        self.aged = 0
        """Connections asked to end because they were above max_connection_age_s."""
        self.connections = 0
        self.connections_open = 0
        self.connections_refused = 0
        """Over max_connections, or without ALPN h2."""
        self.dropped = 0
        """Connections closed because the peer was silent or took nothing."""
        self.streams = 0
        self.resets_received = 0
        """Calls the caller cancelled."""
        self.resets_sent = 0
        """Streams reset for a fault of the peer."""
        self.refused: dict[str, int] = {}
        """Requests answered by the front itself, by reason; the reasons are a fixed set."""
        self.failures: dict[str, int] = {}
        """Connections ended for a fault of the peer, by HTTP/2 error name."""

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def failure(self, code: str) -> None:
        self.failures[code] = self.failures.get(code, 0) + 1

    @classmethod
    def totals(cls) -> tuple[str, ...]:
        """Names of the figures that only grow."""
        return tuple(name for name in cls.__slots__ if name != "connections_open")

    def read(self, figure: str) -> int:
        """One figure as a number; those kept by reason are added up."""
        value: int | dict[str, int] = getattr(self, figure)
        return sum(value.values()) if isinstance(value, dict) else value
