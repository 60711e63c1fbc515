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
        write: Callable[[Iterable[bytes]], None],
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

    def send(self, inference: Inference) -> None:
        self.in_flight[inference.id] = inference
        self._work.append(inference)
        self._schedule()

    def cancel(self, inference: Inference) -> None:
        """Tell the worker that nobody waits for it; its entry still frees the window when the result comes."""
        self._cancels.append(inference.id)
        self._schedule()

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
                self._write(encode(link_pb2.Envelope(work=self._columns(part)), [entry.message for entry in part]))
        if self._cancels:
            ids, self._cancels = self._cancels, []
            self._write(encode(link_pb2.Envelope(cancel=link_pb2.Cancel(ids=ids))))

    def _columns(self, batch: list[Inference]) -> link_pb2.Work:
        now = self._clock()
        work = link_pb2.Work(
            ids=[entry.id for entry in batch],
            handles=[entry.seat.handle if entry.seat else 0 for entry in batch],
            rows=[entry.rows for entry in batch],
            sizes=[len(entry.message) for entry in batch],
            timeout_us=[max(0, int((entry.deadline - now) * 1e6)) for entry in batch],
            priorities=[entry.priority for entry in batch],
            request_ids=[entry.request_id for entry in batch],
        )
        if any(entry.traceparent for entry in batch):
            work.traceparents.extend([entry.traceparent for entry in batch])
            if any(entry.tracestate for entry in batch):
                work.tracestates.extend([entry.tracestate for entry in batch])
        return work

    def __repr__(self) -> str:
        return f"<Replica {self.name} in_flight={len(self.in_flight)} seats={list(self.seats.values())}>"
