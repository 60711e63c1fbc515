"""One inference on its way through the router: made by an edge, answered by the Dispatcher."""

from collections.abc import Callable

from serving.errors import DodonaError


class Inference:
    """`message` is a serialised inference.ModelInferRequest; it travels to the worker undecoded.

    Exactly one of `on_reply(response bytes)` and `on_error(error)` is called, once, in the event loop, unless the
    caller cancels first (`Dispatcher.cancel`); then neither is. `deadline` is event-loop time in seconds.
    """

    __slots__ = (
        "deadline",
        "id",
        "message",
        "model",
        "on_error",
        "on_reply",
        "pool",
        "priority",
        "queued_at",
        "replica",
        "request_id",
        "rows",
        "traceparent",
        "version",
    )

    def __init__(
        self,
        *,
        message: bytes,
        model: str,
        version: str,
        rows: int,
        deadline: float,
        on_reply: Callable[[bytes], None],
        on_error: Callable[[DodonaError], None],
        priority: int = 0,
        request_id: str = "",
        traceparent: str = "",
    ) -> None:
        self.message = message
        self.model = model
        self.version = version
        self.rows = rows
        self.deadline = deadline
        self.on_reply = on_reply
        self.on_error = on_error
        self.priority = priority
        self.request_id = request_id
        self.traceparent = traceparent
        # The Dispatcher's own notes.
        self.id = 0
        self.queued_at = 0.0
        self.pool: object | None = None
        self.replica: object | None = None
