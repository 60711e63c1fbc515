"""A worker's side of one link: Work in, Results out, with columns instead of a message per request.

Every id of a Work frame is answered exactly once in a Results frame, whatever becomes of it (a cancelled one with
CANCELLED), because the router counts rows in flight by it. What belongs to a lost link is cancelled without a word.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import Final, Protocol

from protos import link_pb2
from serving.errors import DodonaError, InternalError, TooLarge, Unavailable, above_limit
from serving.link.framing import COLUMNS_BYTES, DEFAULT_MAX_FRAME_BYTES, PROTOCOL_VERSION, LinkError, pieces, portions
from serving.link.words import failure_of
from serving.policy.credit import window_rows
from serving.shared_memory.regions import Regions
from serving.worker.job import Job, Outcome
from serving.worker.tracing import WorkerTracer
from serving.worker.version import ServedVersion

log = logging.getLogger(__name__)

_MAX_U32: Final = 2**32 - 1

Send = Callable[[link_pb2.Envelope, Sequence[bytes]], object]
_sequence = count()


class Host(Protocol):
    """The process as its links see it."""

    @property
    def versions(self) -> Mapping[int, ServedVersion]:
        """By handle: what is announced, and what drains."""

    def hello(self) -> link_pb2.Hello: ...

    def announced(self) -> Sequence[ServedVersion]: ...

    def links_changed(self) -> None:
        """A router came or went, or it is time to look again at what versions cost: windows are shared anew."""


class WorkerLink:
    """A `serving.link.client.Peer`; `attach` gives it the way to write a frame to the router."""

    def __init__(self, host: Host, address: str, tracer: WorkerTracer | None = None) -> None:
        """`tracer`: None where tracing is off."""
        self._host = host
        self._address = address
        self._tracer = tracer
        self._send: Send = _unattached
        self._jobs: dict[int, Job] = {}
        self._max_frame_bytes = 0
        self._round_trip_s = 0.0
        self._granted: dict[int, int] = {}
        self._regions = Regions()
        self.up = False

    def attach(self, send: Send) -> None:
        self._send = send

    # What the link client calls.

    def hello(self) -> link_pb2.Hello:
        return self._host.hello()

    def welcomed(self, welcome: link_pb2.Welcome) -> None:
        """Raises LinkError if the router chose a version of the protocol that we do not speak."""
        if not 1 <= welcome.protocol_version <= PROTOCOL_VERSION:
            raise LinkError(
                f"the router speaks link protocol {welcome.protocol_version}, this worker 1 to {PROTOCOL_VERSION}"
            )
        log.info("link up", extra={"router": welcome.router, "address": self._address})
        self._max_frame_bytes = welcome.max_frame_bytes or DEFAULT_MAX_FRAME_BYTES
        self._regions = Regions(welcome.shared_memory)
        self.up = True
        self.announce()
        self._host.links_changed()

    def received(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        """Raises LinkError if the columns of a frame do not fit together."""
        kind = envelope.WhichOneof("frame")
        if kind == "work":
            self._work(envelope.work, payload)
        elif kind == "cancel":
            for number in envelope.cancel.ids:
                job = self._jobs.get(number)
                if job is not None:
                    self._cancel(job)
        elif kind == "heartbeat":
            self._round_trip_s = envelope.heartbeat.round_trip_us / 1e6
            self._regions.sweep()
            self._host.links_changed()

    def lost(self, reason: str) -> None:
        self.up = False
        self._regions = Regions()
        jobs, self._jobs = self._jobs, {}
        if jobs:
            extra = {"address": self._address, "reason": reason, "requests": len(jobs)}
            log.warning("work of a lost link dropped", extra=extra)
        for job in jobs.values():
            job.sink = _NOWHERE  # the next connection counts its ids from the start
            self._cancel(job)
        self._host.links_changed()

    # What the process says to the router.

    def announce(self) -> None:
        """The whole set of versions, as it is now; their windows are to be granted anew."""
        self._granted = {}
        models = link_pb2.Models(models=[version.message for version in self._host.announced()])
        self._send(link_pb2.Envelope(models=models), ())

    def grant(self, routers: int) -> None:
        """The windows of all versions, shared by so many routers; those that are as they were are not sent again."""
        granted = {}
        for version in self._host.announced():
            rows = window_rows(version.largest_batch_rows, routers, version.cost, self._round_trip_s)
            granted[version.handle] = rows
            if self._granted.get(version.handle) != rows:
                credit = link_pb2.Credit(handle=version.handle, window_rows=rows)
                self._send(link_pb2.Envelope(credit=credit), ())
        self._granted = granted

    def drain(self) -> None:
        self._send(link_pb2.Envelope(draining=link_pb2.Draining()), ())

    # Work in.

    def _work(self, work: link_pb2.Work, payload: memoryview) -> None:
        ids = work.ids
        priorities = work.priorities or [0] * len(ids)
        request_ids = work.request_ids or [""] * len(ids)
        tenants = work.tenants or [""] * len(ids)
        weights = work.weights or [1.0] * len(ids)
        traces = (work.traceparents or ids, work.tracestates or ids)
        columns = (work.handles, work.sizes, work.timeout_us, priorities, request_ids, tenants, weights, *traces)
        if any(len(column) != len(ids) for column in columns):
            raise LinkError("columns of a work frame differ in length")
        if work.weights and not min(work.weights) > 0:
            raise LinkError("a tenant's weight must be above 0")
        refused: dict[int, list[tuple[int, DodonaError]]] = {}
        versions, jobs = self._host.versions, self._jobs
        now = monotonic()
        for number, handle, message, timeout_us, priority, request_id, tenant, weight in zip(
            ids,
            work.handles,
            pieces(payload, work.sizes),
            work.timeout_us,
            priorities,
            request_ids,
            tenants,
            weights,
            strict=True,
        ):
            version = versions.get(handle)
            try:
                if version is None:
                    raise Unavailable("this version is no longer loaded here", remedy="send it again")
                request = version.decode(message, self._regions)
            except Exception as error:  # one bad request must not cost the others of the frame
                refused.setdefault(handle, []).append((number, _refusal(error, version, request_id)))
                continue
            decoded = monotonic()
            job = Job(
                number=number,
                handle=handle,
                request=request,
                sink=self,
                seq=next(_sequence),
                deadline=decoded + timeout_us * 1e-6,
                arrived=decoded,
                priority=priority,
                request_id=request_id,
                decode_s=decoded - now,
                tenant=tenant,
                weight=weight,
            )
            now = decoded
            jobs[number] = job
            version.batcher.submit(job)
        if self._tracer is not None and work.traceparents:
            self._tracer.mark(work, jobs)
        for handle, failures in refused.items():
            self._refuse(handle, failures)

    def _cancel(self, job: Job) -> None:
        version = self._host.versions.get(job.handle)
        if version is not None:
            version.batcher.cancel(job)

    def _refuse(self, handle: int, failures: list[tuple[int, DodonaError]]) -> None:
        results = link_pb2.Results(
            handle=handle,
            ids=[number for number, _ in failures],
            sizes=[0] * len(failures),
            queue_us=[0] * len(failures),
            failures=[failure_of(error, index) for index, (_, error) in enumerate(failures)],
        )
        self._send(link_pb2.Envelope(results=results), ())

    # Results out.

    def deliver(self, outcome: Outcome) -> None:
        """One frame a batch, or as many as its size asks for."""
        jobs, answers = outcome.jobs, outcome.answers
        for job in jobs:
            self._jobs.pop(job.number, None)
        sizes = [len(answer) if isinstance(answer, bytes) else 0 for answer in answers]
        limit = self._max_frame_bytes - 1024
        if sum(sizes) + COLUMNS_BYTES * len(jobs) <= limit:
            self._results(outcome, jobs, answers, sizes, outcome.rows)
            return
        for start, end in portions(sizes, limit):
            part = answers[start:end]
            if sizes[start] > limit:
                part = [_too_large(sizes[start], self._max_frame_bytes)]
                sizes[start] = 0
            # The run is counted by its rows: once.
            rows = outcome.rows if start == 0 else 0
            self._results(outcome, jobs[start:end], part, sizes[start:end], rows)

    def _results(
        self,
        outcome: Outcome,
        jobs: Sequence[Job],
        answers: "Sequence[bytes | DodonaError]",
        sizes: Sequence[int],
        rows: int,
    ) -> None:
        ran = outcome.rows > 0
        # Filled in place: a message that is put into another is copied.
        envelope = link_pb2.Envelope()
        results = envelope.results
        results.handle = outcome.handle
        results.rows = rows
        results.input_us = _microseconds(outcome.input_s)
        results.infer_us = _microseconds(outcome.infer_s)
        results.output_us = _microseconds(outcome.output_s)
        results.sizes.extend(sizes)
        add_id, add_wait = results.ids.append, results.queue_us.append
        for job in jobs:
            add_id(job.number)
            add_wait(_microseconds(job.started - job.arrived) if ran else 0)
        payloads = [answer for answer in answers if isinstance(answer, bytes)]
        if len(payloads) < len(answers):
            results.failures.extend(
                failure_of(answer, index) for index, answer in enumerate(answers) if not isinstance(answer, bytes)
            )
        self._send(envelope, payloads)


def _refusal(error: Exception, version: ServedVersion | None, request_id: str) -> DodonaError:
    """What the caller learns of a request that got no further than decoding."""
    if not isinstance(error, DodonaError):
        log.error("decoding failed", extra={"request_id": request_id}, exc_info=error)
        error = InternalError("decoding failed", remedy="see the worker's log")
    if version is not None:
        version.metrics.count(error.status)
    return error


def _unattached(*_frame: object) -> object:
    raise RuntimeError("this link is not attached to a connection")


class _Nowhere:
    def deliver(self, outcome: Outcome) -> None:
        """Nobody waits for it any more."""


_NOWHERE: Final = _Nowhere()


def _too_large(size: int, limit: int) -> TooLarge:
    return above_limit(f"response of {size} bytes", "router.link.max_frame_bytes", limit)


def _microseconds(seconds: float) -> int:
    number = int(seconds * 1e6)
    return number if 0 <= number <= _MAX_U32 else min(_MAX_U32, max(0, number))
