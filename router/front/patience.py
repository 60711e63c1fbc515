"""How long the REST listener waits for callers."""

from dataclasses import dataclass
from typing import Final, Self

from router.settings import Rest
from serving.errors import DeadlineExceeded

_LONGEST_S: Final = 5.0
_SHORTEST_S: Final = 0.01


class BodyTimeout(DeadlineExceeded):
    @property
    def http_status(self) -> int:
        return 408


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds."""

    keep_alive_s: float = 75
    """For the next request of an idle connection: longer than pools of clients and proxies keep theirs (mostly 60)."""
    head_s: float = 20.0
    """For the rest of a request's head, from its first bytes."""
    stall_s: float = 30.0
    """For a caller to read something of a reply that waits for it."""
    handshake_s: float = 10.0
    """For TLS."""
    pause_s: float = 30.0
    """Between two pieces of a body."""
    upload_s: float = 120.0
    """For a body to arrive in full, from the end of its head."""
    ending_s: float = 1.0
    """For callers to read a last answer, and for endpoints to end once their connection was cut in a drain."""

    @classmethod
    def of(cls, rest: Rest) -> Self:
        """From the settings a user sees."""
        return cls(
            keep_alive_s=rest.keep_alive_s,
            head_s=rest.head_timeout_s,
            stall_s=rest.write_stall_s,
            handshake_s=rest.handshake_timeout_s,
            pause_s=rest.body_pause_s,
            upload_s=rest.upload_timeout_s,
        )

    def overdue(self, opened_at: float, seen_at: float, now: float) -> BodyTimeout | None:
        """What is wrong with a body that began at `opened_at` and last came on at `seen_at`."""
        if now - seen_at >= self.pause_s:
            return BodyTimeout(
                f"nothing came for {self.pause_s:g} s", field="body", remedy="send the body without a pause"
            )
        if now - opened_at >= self.upload_s:
            return BodyTimeout(
                f"took longer than router.rest.upload_timeout_s = {self.upload_s:g}",
                field="body",
                remedy="send it faster, or raise the setting",
            )
        return None

    def look_every_s(self, max_connection_age_s: float) -> float:
        """How often to look at all connections: no time is missed by more than half, or by five seconds. The age is
        router.limits.max_connection_age_s, 0 for none."""
        times = (self.keep_alive_s, self.head_s, self.stall_s, self.pause_s, self.upload_s)
        shortest = min(*times, max_connection_age_s or _LONGEST_S)
        return min(_LONGEST_S, max(_SHORTEST_S, shortest / 2))
