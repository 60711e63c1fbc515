"""Where finished spans wait for the collector: bounded, and emptied by a thread of its own.

Nothing here ever holds up a request. `record` appends to a queue, or counts a span as dropped where the queue is full.
A batch that the collector does not take is tried three times, then counted as lost; meanwhile the queue fills up.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from serving.metrics import Counter, Family
from serving.tracing.otlp import Envelope

log = logging.getLogger(__name__)

BATCH_SPANS: Final = 512
_ATTEMPTS: Final = 3


class Answer(Enum):
    """What the collector said of a batch."""

    TAKEN = "taken"
    AGAIN = "again"
    REFUSED = "refused"


class Outbox:
    """`post` sends a body and says what became of it and why; it is called from the outbox's thread only, and so
    is `hang_up`, last of all."""

    def __init__(
        self,
        post: Callable[[bytes], tuple[Answer, str]],
        envelope: Envelope,
        *,
        max_spans: int,
        interval_s: float,
        batch_spans: int = BATCH_SPANS,
        hang_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.exported = 0
        self.dropped = 0
        """Spans that found the queue full."""
        self.lost = 0
        """Spans that the collector did not take."""
        self._post = post
        self._hang_up = hang_up
        self._envelope = envelope
        self._max_spans = max_spans
        self._interval_s = interval_s
        self._batch_spans = batch_spans
        self._spans: deque[bytes] = deque()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def record(self, *spans: bytes) -> None:
        """Take finished spans. Called from one thread."""
        waiting = self._spans
        if len(waiting) + len(spans) > self._max_spans:
            self.dropped += len(spans)
            return
        waiting.extend(spans)
        if len(waiting) >= self._batch_spans and not self._awake.is_set():
            self._awake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Export what waits, once, within `timeout_s`."""
        self._closing.set()
        self._awake.set()
        self._thread.join(timeout_s)

    def count_in(self, family: Family[Counter]) -> None:
        """Show the three counts as a metric, by `outcome`."""
        family.labels("exported").source = lambda: self.exported
        family.labels("dropped").source = lambda: self.dropped
        family.labels("lost").source = lambda: self.lost

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(self._interval_s)
            self._awake.clear()
            self._empty()
        self._empty()
        self._hang_up()

    def _empty(self) -> None:
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(len(self._spans), self._batch_spans))]
            body = self._envelope.around(batch)
            if self._send(body):
                self.exported += len(batch)
            else:
                self.lost += len(batch)

    def _send(self, body: bytes) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            answer, reason = self._post(body)
            self._tell(answer, reason)
            if answer is not Answer.AGAIN or attempt == _ATTEMPTS or self._closing.wait(self._interval_s * attempt):
                return answer is Answer.TAKEN
        return False

    def _tell(self, answer: Answer, reason: str) -> None:
        """A collector that is away for an hour is two lines."""
        failing = answer is not Answer.TAKEN
        if failing and not self._failing:
            log.warning("spans cannot be exported", extra={"reason": reason})
        elif self._failing and not failing:
            log.info("spans are exported again", extra={"lost": self.lost, "dropped": self.dropped})
        self._failing = failing
