"""A worker as the router sees it: what it serves, what it has in hand, and the work to send it next."""

from collections.abc import Callable, Iterable

from protos import link_pb2
from router.pool import Seat
from router.request import Inference
from serving.link.framing import DEFAULT_MAX_FRAME_BYTES, encode, portions


class Replica:
    """Collects work during one turn of the event loop and sends it as one frame (`flush`).

    `write` takes buffers; `soon` schedules a callback for the end of the turn.
    """

    def __init__(
        self,
        hello: link_pb2.Hello,
        *,
        write: Callable[[Iterable[bytes | memoryview]], None],
        soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        self.hello = hello
        self.name = hello.name
        self.seats: dict[int, Seat] = {}
        """Handle -> seat, of versions that take new work."""
        self.in_flight: dict[int, Inference] = {}
        self.draining = False
        self.connected_at = clock()
        self.round_trip_s = 0.0
        self._write = write
        self._soon = soon
        self._clock = clock
        self._max_frame_bytes = max_frame_bytes
        self._work: list[Inference] = []
        self._cancels: list[int] = []
        self._flush_due = False
        self._named = False
        """Whether a request of this turn names its tenant."""

    def send(self, inference: Inference) -> None:
        self.in_flight[inference.id] = inference
        self._work.append(inference)
        if inference.tenant:
            self._named = True
        self._schedule()

    def cancel(self, inference: Inference) -> None:
        """Tell the worker that nobody waits for it; its entry still frees the window when the result comes."""
        self._cancels.append(inference.id)
        self._schedule()

    def replace(self, inference: Inference, successor: Inference) -> None:
        """Another request takes over the run of `inference`, and has its id; their messages are alike."""
        self.in_flight[successor.id] = successor
        self._work = [successor if entry is inference else entry for entry in self._work]

    def _schedule(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._soon(self.flush)

    def flush(self) -> None:
        """Write one frame with all work of this turn (more where it would be too large), and one with all cancels."""
        self._flush_due = False
        if self._work:
            work, self._work = self._work, []
            for start, end in portions([len(entry.message) for entry in work], self._max_frame_bytes):
                part = work[start:end]
                self._write(encode(self._envelope(part), [entry.message for entry in part]))
            self._named = False
        if self._cancels:
            ids, self._cancels = self._cancels, []
            self._write(encode(link_pb2.Envelope(cancel=link_pb2.Cancel(ids=ids))))

    def _envelope(self, batch: list[Inference]) -> link_pb2.Envelope:
        """Filled in place, value by value: columns made as lists first, and a message put into another, cost twice as
        much for a lone request and half as much again for 32."""
        now = self._clock()
        envelope = link_pb2.Envelope()
        work = envelope.work
        add_id, add_handle, add_rows = work.ids.append, work.handles.append, work.rows.append
        add_size, add_timeout = work.sizes.append, work.timeout_us.append
        add_priority, add_request_id = work.priorities.append, work.request_ids.append
        traced = False
        for entry in batch:
            add_id(entry.id)
            add_handle(entry.seat.handle if entry.seat else 0)
            add_rows(entry.rows)
            add_size(len(entry.message))
            left_us = int((entry.deadline - now) * 1e6)
            add_timeout(left_us if left_us > 0 else 0)
            add_priority(entry.priority)
            add_request_id(entry.request_id)
            if entry.traceparent:
                traced = True
        if traced:
            work.traceparents.extend([entry.traceparent for entry in batch])
            if any(entry.tracestate for entry in batch):
                work.tracestates.extend([entry.tracestate for entry in batch])
        if self._named:
            work.tenants.extend([entry.tenant for entry in batch])
            weights = [entry.pool.queue.weight(entry.tenant) for entry in batch]
            if any(weight != 1 for weight in weights):
                work.weights.extend(weights)
        return envelope

    def __repr__(self) -> str:
        return f"<Replica {self.name} in_flight={len(self.in_flight)} seats={list(self.seats.values())}>"
