"""When a connection is old enough to be asked to go, so that no client stays with one router for ever.

A client keeps its connection as long as it can, and a balancer that works by connection (a Kubernetes
Service, say) then never gives new routers any load. So a connection ends after `max_connection_age_s` in the way a
drain ends it: GOAWAY (HTTP/1.1: `Connection: close` on the next answer), calls go on for the grace, the client connects
anew. Ages are spread over a tenth to either
side, as gRPC's own servers do, so that connections made together do not return together.

Asked often enough, `check` gives each stage once, in order.
"""

from enum import Enum
from typing import Final, Protocol

_SPREAD: Final = 0.1
_FAREWELL_S: Final = 5.0  # for the peer to hear the first GOAWAY, if it does not answer the PING behind it


class Stage(Enum):
    YOUNG = "young"
    START_DRAIN = "start drain"
    FINISH_DRAIN = "finish drain"
    GIVE_UP = "give up"


class Ageing(Protocol):
    @property
    def max_connection_age_s(self) -> float: ...

    @property
    def max_connection_age_grace_s(self) -> float: ...


class Age:
    __slots__ = ("_stages",)

    def __init__(self, limits: Ageing, now: float, chance: float) -> None:
        """`chance`: where in the spread this connection lies, 0..1; `now` in seconds."""
        self._stages: list[tuple[float, Stage]] = []
        if limits.max_connection_age_s <= 0:
            return
        ends_at = now + limits.max_connection_age_s * (1 + _SPREAD * (2 * chance - 1))
        grace_s = limits.max_connection_age_grace_s
        self._stages = [
            (ends_at + grace_s, Stage.GIVE_UP),
            (ends_at + min(grace_s, _FAREWELL_S), Stage.FINISH_DRAIN),
            (ends_at, Stage.START_DRAIN),
        ]

    def check(self, now: float) -> Stage:
        """What is due at `now`; YOUNG if nothing new is."""
        if self._stages and now >= self._stages[-1][0]:
            return self._stages.pop()[1]
        return Stage.YOUNG
