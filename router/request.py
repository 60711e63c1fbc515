"""One inference on its way through the router: made by an edge, answered by the Dispatcher."""

from collections.abc import Callable

from router.pool import Pool, Seat
from router.sharing.flights import Share
from router.tracing import Trace
from serving.errors import DodonaError
from serving.spec import DEFAULT_PRIORITY
from serving.tracing.context import MAX_TRACEPARENT_CHARS


class Inference:
    """`message` is a serialised inference.ModelInferRequest; it travels to the worker undecoded.

    Exactly one of `on_reply(response bytes)` and `on_error(error)` is called, once, in the event loop, unless the
    caller cancels first (`Dispatcher.cancel`); then neither is. `deadline` is event-loop time in seconds; so is `due`,
    when the answer is wanted: the deadline if the caller gave one, else what the model's SLO asks for. `wanted` is the
    version or label that the caller named, "" for none. `trace` is there for sampled requests only.
    """

    __slots__ = (
        "answered",
        "attempts",
        "deadline",
        "due",
        "id",
        "message",
        "on_error",
        "on_reply",
        "pool",
        "priority",
        "queued_at",
        "request_id",
        "rows",
        "seat",
        "share",
        "slot",
        "tenant",
        "trace",
        "traceparent",
        "tracestate",
        "wanted",
    )

    def __init__(
        self,
        *,
        message: bytes | memoryview,
        pool: Pool,
        wanted: str = "",
        rows: int,
        deadline: float,
        on_reply: Callable[[bytes], None],
        on_error: Callable[[DodonaError], None],
        priority: int = 0,
        request_id: str = "",
        traceparent: str = "",
        tenant: str = "",
        due: float = 0.0,
        trace: Trace | None = None,
    ) -> None:
        self.message = message
        self.pool = pool
        self.wanted = wanted
        self.rows = rows
        self.deadline = deadline
        self.due = due or deadline
        self.on_reply = on_reply
        self.on_error = on_error
        self.priority = priority
        self.request_id = request_id
        # It stands in the columns of a frame (serving.link.framing.COLUMNS_BYTES).
        self.traceparent = traceparent if len(traceparent) <= MAX_TRACEPARENT_CHARS else ""
        self.tracestate = ""
        self.trace = trace
        self.tenant = tenant
        # The Dispatcher's own notes.
        self.id = 0
        self.answered = False
        self.attempts = 0
        self.queued_at = 0.0
        self.slot = 0
        self.seat: Seat | None = None
        self.share: Share | None = None
        """Where it may be answered together with identical requests."""

    def hurry(self, other: "Inference") -> bool:
        """Become as urgent as `other`. Returns whether it was less so."""
        priority = min(self.priority or DEFAULT_PRIORITY, other.priority or DEFAULT_PRIORITY)
        changed = other.due < self.due or priority < (self.priority or DEFAULT_PRIORITY)
        if changed:
            self.priority, self.due = priority, min(self.due, other.due)
        return changed
