"""How the parts of a router's core hang together."""

from collections.abc import Callable

from router.alarm import CallAt
from router.catalogue import Catalogue
from router.control.operators import Operators
from router.core import Core
from router.dispatcher import Dispatcher
from router.gate import Gate
from router.link.peers import Peers
from router.metrics import RouterMetrics
from router.policy.fair import Shares
from router.policy.replies import Replies
from router.settings import RouterSettings
from router.shared_memory import SharedRegions
from router.tracing import Tracer


def compose(
    settings: RouterSettings,
    *,
    clock: Callable[[], float],
    call_at: CallAt,
    tracer: Tracer | None = None,
) -> Core:
    """The router without its listeners."""
    metrics = RouterMetrics()
    fairness = settings.fairness
    catalogue = Catalogue(
        metrics, Shares(fairness.weights, fairness.max_tenants), Replies(settings.response_cache_bytes)
    )
    gate = Gate(settings.limits, settings.admission, metrics)
    dispatcher = Dispatcher(catalogue, gate, clock=clock, call_at=call_at)
    operators = Operators()
    peers = Peers(catalogue, dispatcher, operators, metrics)
    regions = SharedRegions(settings)
    started_at = clock()
    return Core(settings, catalogue, dispatcher, operators, peers, regions, metrics, clock, started_at, tracer)
