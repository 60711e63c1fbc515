"""Says no to requests that would only make things worse: too many wait already, or it could not be answered in time.

Asked by the Dispatcher for requests that find no free replica. The decision is `router.policy.admission`; here it gets
its figures, and its answer becomes an error that names the setting.
"""

from router.metrics import RouterMetrics
from router.policy.admission import Outlook, outlook, patience_s, retry_after
from router.request import Inference
from router.settings import Admission, Limits
from serving.errors import Shed

_UNKNOWN_DELAY_S = 0.1
_LONGEST_DELAY_S = 30.0


class Gate:
    def __init__(self, limits: Limits, admission: Admission, metrics: RouterMetrics) -> None:
        self.max_in_flight = limits.max_in_flight
        """Requests accepted and not yet answered at most, all models together."""
        self._limits = limits
        self._admission = admission
        self._metrics = metrics

    def full(self) -> Shed:
        """The answer where the router has its fill of requests."""
        return self._shed(
            "in_flight", f"router.limits.max_in_flight = {self.max_in_flight} is reached", _UNKNOWN_DELAY_S
        )

    def check_queue(self, inference: Inference, now: float) -> None:
        """Raises Shed where the request may not wait: its tenant's part of the queue is full, or it would be late."""
        queue = inference.pool.queue
        tenant = inference.tenant
        if not queue:
            inference.pool.standing_since = now
        most = self._limits.max_pending
        if queue and queue.pending(tenant) >= max(1.0, most * queue.share(tenant)):
            view = self._outlook(inference)
            share = f", this tenant's part of it is {queue.share(tenant):.0%}" if queue.share(tenant) < 1 else ""
            delay_s = view.run_s if view is not None else _UNKNOWN_DELAY_S
            raise self._shed("pending", f"router.limits.max_pending = {most} is reached{share}", delay_s)
        if self._admission.enabled and inference.pool.ready:
            self._check_outlook(inference, now)

    def _check_outlook(self, inference: Inference, now: float) -> None:
        view = self._outlook(inference)
        allowed_s = patience_s(view, inference.due - now, now - inference.pool.standing_since)
        delay_s = retry_after(view, allowed_s)
        if view is None or delay_s <= 0:
            return
        goal = "slo.latency_p99_s of the model" if inference.due < inference.deadline else "its deadline"
        raise self._shed(
            "late",
            f"it would take about {view.latest_s:.3g} s and {goal} allows {allowed_s:.3g} s",
            delay_s,
        )

    def _outlook(self, inference: Inference) -> Outlook | None:
        pool = inference.pool
        tenant, seats = inference.tenant, pool.seats
        shared = tenant or pool.named_rows
        own = sum([seat.rows_by(tenant) for seat in seats]) if shared else pool.rows_in_flight
        queue, priority, due = pool.queue, inference.priority, inference.due
        ahead = queue.rows_ahead(tenant, priority=priority, due=due, at_replicas=own)
        guests = ahead - own - queue.own_rows_ahead(tenant, priority=priority, due=due) if shared else 0.0
        return outlook([seat.pace for seat in seats], pool.rows_in_flight - own + ahead, inference.rows, guests)

    def _shed(self, reason: str, why: str, delay_s: float) -> Shed:
        self._metrics.shed.labels(reason).inc()
        remedy = "allow more time" if reason == "late" else "raise the setting"
        return Shed(
            f"too many requests: {why}",
            remedy=f"retry after the delay, add replicas, or {remedy}",
            retry_after_s=min(delay_s, _LONGEST_DELAY_S),
        )
