"""The errors by which the Dispatcher gives up on a request, and when it does so."""

from collections.abc import Callable

from router.policy.standing import Standing
from router.request import Inference
from serving.errors import DeadlineExceeded, Shed, Unavailable

# A caller's own timer runs out at the deadline; to tell it the true reason the answer must be on its way before.
_EARLY_S = 0.02
_EARLY_SHARE = 0.1


class StandingShed(Shed):
    """A refusal that all requests like this one get, as long as it stands (router/policy/standing.py)."""

    def __init__(self, shed: Shed, standing: Standing) -> None:
        super().__init__(shed.message, remedy=shed.remedy, retry_after_s=shed.retry_after_s)
        self.standing = standing
        self.alike: Callable[[bytes], bytes] | None = None
        """Set by the edge that can tell what all messages like a given one begin with, if they are as long."""


def early(deadline: float, now: float) -> float:
    """When to give up on what no replica may ever take."""
    return deadline - min(_EARLY_S, _EARLY_SHARE * max(0.0, deadline - now))


def late(inference: Inference) -> DeadlineExceeded:
    place = "at the worker" if inference.seat is not None else "in the router's queue"
    return DeadlineExceeded(
        f"the deadline passed while the request of model {inference.pool.spec} was {place}",
        remedy="allow more time, or send less",
    )


def lonely(inference: Inference, reason: str) -> Unavailable:
    """No replica came; `reason` is the agents' word for it, or empty."""
    return Unavailable(
        f"no replica of model {inference.pool.spec} became ready within the deadline"
        + (f" ({reason})" if reason else ""),
        remedy="`dodona status` shows the workers",
    )
