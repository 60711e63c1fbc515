"""Says no to requests that would only make things worse: too many wait already, or it could not be answered in time.

Asked by the Dispatcher for requests that find no free replica. The decision is `router.policy.admission`; here it gets
its figures, and its answer becomes an error that names the setting. What it says of one request stands for all that are
alike, until something changes (`router.policy.standing`).
"""

from dataclasses import dataclass
from functools import partial

from router.metrics import RouterMetrics
from router.policy.admission import Outlook, outlook, patience_s, retry_after
from router.policy.standing import Standing
from router.pool import Pool
from router.refusals import StandingShed
from router.request import Inference
from router.settings import Admission, Limits
from serving.errors import Shed

_UNKNOWN_DELAY_S = 0.1
_LONGEST_DELAY_S = 30.0


@dataclass(slots=True)
class _Kind:
    """A request like one that was refused; times as if it came now."""

    pool: Pool
    tenant: str
    priority: int
    rows: int
    due: float
    deadline: float


class Gate:
    def __init__(self, limits: Limits, admission: Admission, metrics: RouterMetrics) -> None:
        self.max_in_flight = limits.max_in_flight
        """Requests accepted and not yet answered at most, all models together."""
        self._limits = limits
        self._admission = admission
        self._metrics = metrics

    def full(self) -> Shed:
        """The answer where the router has its fill of requests."""
        self._metrics.shed.labels("in_flight").inc()
        return _shed("in_flight", f"router.limits.max_in_flight = {self.max_in_flight} is reached", _UNKNOWN_DELAY_S)

    def check_queue(self, inference: Inference, now: float) -> None:
        """Raises Shed where the request may not wait: its tenant's part of the queue is full, or it would be late."""
        refused = self._judge(inference, now)
        if refused is None:
            return
        reason, shed = refused
        counter = self._metrics.shed.labels(reason)
        counter.inc()
        pool = inference.pool
        if pool.sharing is not None:  # an answer to the next one may have been kept
            raise shed
        kind = _Kind(pool, inference.tenant, inference.priority, inference.rows, inference.due, inference.deadline)
        again = partial(self._judge_again, kind)
        raise StandingShed(shed, Standing(inference.due - now, pool.changes, again, counter.inc))

    def _judge_again(self, kind: _Kind, now: float, allowed_s: float) -> Shed | None:
        kind.deadline += now + allowed_s - kind.due
        kind.due = now + allowed_s
        pool = kind.pool
        if not pool.queue and pool.seat_for(kind.rows) is not None:
            return None
        refused = self._judge(kind, now)
        return refused[1] if refused is not None else None

    def _judge(self, asking: Inference | _Kind, now: float) -> tuple[str, Shed] | None:
        """Why it may not wait, and the label under which that is counted."""
        queue = asking.pool.queue
        tenant = asking.tenant
        if not queue:
            asking.pool.standing_since = now
        most = self._limits.max_pending
        if queue and queue.pending(tenant) >= max(1.0, most * queue.share(tenant)):
            view = self._outlook(asking)
            share = f", this tenant's part of it is {queue.share(tenant):.0%}" if queue.share(tenant) < 1 else ""
            delay_s = view.run_s if view is not None else _UNKNOWN_DELAY_S
            return "pending", _shed("pending", f"router.limits.max_pending = {most} is reached{share}", delay_s)
        if not self._admission.enabled or not asking.pool.ready:
            return None
        view = self._outlook(asking)
        allowed_s = patience_s(view, asking.due - now, now - asking.pool.standing_since)
        delay_s = retry_after(view, allowed_s)
        if view is None or delay_s <= 0:
            return None
        goal = "slo.latency_p99_s of the model" if asking.due < asking.deadline else "its deadline"
        why = f"it would take about {view.latest_s:.3g} s and {goal} allows {allowed_s:.3g} s"
        return "late", _shed("late", why, delay_s)

    @staticmethod
    def _outlook(asking: Inference | _Kind) -> Outlook | None:
        pool = asking.pool
        tenant, seats = asking.tenant, pool.seats
        shared = tenant or pool.named_rows
        own = sum([seat.rows_by(tenant) for seat in seats]) if shared else pool.rows_in_flight
        queue, priority, due = pool.queue, asking.priority, asking.due
        ahead = queue.rows_ahead(tenant, priority=priority, due=due, at_replicas=own)
        guests = ahead - own - queue.own_rows_ahead(tenant, priority=priority, due=due) if shared else 0.0
        return outlook([seat.pace for seat in seats], pool.rows_in_flight - own + ahead, asking.rows, guests)


def _shed(reason: str, why: str, delay_s: float) -> Shed:
    remedy = "allow more time" if reason == "late" else "raise the setting"
    return Shed(
        f"too many requests: {why}",
        remedy=f"retry after the delay, add replicas, or {remedy}",
        retry_after_s=min(delay_s, _LONGEST_DELAY_S),
    )
