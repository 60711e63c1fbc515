"""Binds requests to replicas and answers them: the middle of `edge -> Dispatcher -> Link`.

Theory: a request is, at any time, in exactly one of three places: its pool's queue, one replica's `in_flight`, or
nowhere because it has been answered (or its caller has gone). Every method here is synchronous, so each is a critical
section of the event loop and no request can be seen between two places.

A request waits in the queue of its version, fairly among tenants and most urgent first, until a replica has room in its
window (late binding); one that would be answered too late is refused at once instead (router/gate.py).
Its answer comes from the replica, from its deadline, or from the loss of everything that could answer. When a replica
is lost, or gives work back unstarted, the work is sent once more: predictions have no side effects, and once is the
whole budget, so that a request that kills workers kills two at most.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Final

from protos import link_pb2
from router.alarm import Alarm, CallAt
from router.catalogue import Catalogue
from router.failures import FailureLog
from router.gate import Gate
from router.policy.deadlines import DeadlineSlots
from router.pool import Pool, Seat
from router.refusals import early, late, lonely
from router.replica import Replica
from router.request import Inference
from router.sharing.company import Company, Steps, followers_of, released_by
from serving.errors import Cancelled, DeadlineExceeded, DodonaError, Unavailable
from serving.link.framing import LinkError
from serving.link.words import error_of

MAX_ATTEMPTS: Final = 2


class Dispatcher:
    """`clock` is event-loop time in seconds, `call_at` schedules a callback at such a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        gate: Gate,
        *,
        clock: Callable[[], float],
        call_at: CallAt,
    ) -> None:
        self.in_flight = 0
        """Requests accepted and not yet answered."""
        self.draining = False
        self._catalogue = catalogue
        self._gate = gate
        self._clock = clock
        self._deadlines: DeadlineSlots[Inference] = DeadlineSlots()
        self._alarm = Alarm(call_at, self.expire)
        self._failures = FailureLog(clock)
        self._company = Company(
            Steps(self._accept, self._watch, self._push, self._again, self._reply, self._fail),
            is_full=lambda: self.in_flight >= gate.max_in_flight,
            clock=clock,
        )
        self._next_id = 0
        self._idle: Callable[[], None] | None = None

    # Callers.

    def submit(self, inference: Inference) -> None:
        """Accept a request; its callback is called later. Raises Shed or Unavailable where it is refused at once."""
        pool = inference.pool
        if self.draining:
            raise Unavailable("this router is draining", remedy="send the request to another replica")
        if inference.share is not None and self._company.meets(inference, inference.share):
            return
        if self.in_flight >= self._gate.max_in_flight:
            raise self._gate.full()
        seat = None if pool.queue else pool.seat_for(inference.rows)
        now = self._clock()
        if now >= inference.deadline:
            raise DeadlineExceeded("the deadline passed before the request was read", remedy="allow more time")
        if seat is None:
            seat = pool.out_of_turn(inference)
        if seat is None:
            self._gate.check_queue(inference, now)
        self._accept(inference, now)
        if inference.share is not None:
            inference.share.lead(inference)
        if seat is not None:
            self._bind(inference, seat)
            self._watch(inference, inference.deadline)
        else:
            self._enqueue(inference, now)

    def cancel(self, inference: Inference) -> None:
        """The caller has gone. Idempotent, and harmless after the answer.

        A caller whose time is up also leaves, often a moment before our own clock says so: that counts as a deadline.
        """
        if inference.answered:
            return
        is_late = self._clock() >= early(inference.deadline, inference.queued_at)
        error: DodonaError = late(inference) if is_late else Cancelled("the caller went away")
        self._withdraw(inference)
        self._record(inference, error)
        self._close(inference)

    # Replicas.

    def on_results(self, replica: Replica, results: link_pb2.Results, payloads: Sequence[bytes]) -> None:
        """Answer what a worker finished, then give it the next. Raises LinkError if the columns do not fit."""
        ids = results.ids
        if len(payloads) != len(ids):
            raise LinkError(f"{len(ids)} results with {len(payloads)} payloads")
        failures = {failure.index: failure for failure in results.failures} if results.failures else None
        touched: Pool | None = None
        rows = 0
        for index, number in enumerate(ids):
            inference = replica.in_flight.pop(number, None)
            if inference is None:
                continue
            self._free(inference)
            if touched is None:
                touched = inference.pool
                touched.statistics.batch(results)
            rows += inference.rows
            if inference.answered:
                continue
            failure = failures.get(index) if failures else None
            if failure is None:
                self._reply(inference, payloads[index])
            elif failure.status == Unavailable.status:
                self._again(inference, error_of(failure))
            elif inference.share is None or not self._company.outlives(inference, inference.share, failure):
                self._fail(inference, error_of(failure))
        if touched is not None:
            seat = replica.seats.get(results.handle)
            if seat is not None and results.rows:
                seat.finished(rows, self._clock() if touched.queue else 0.0)
                if touched.sharing is not None:
                    touched.sharing.ran(results)
            self.refill(touched)

    def on_lost(self, replica: Replica) -> None:
        """A replica has gone without a word: what it had in hand is sent once more, or answered UNAVAILABLE."""
        self._catalogue.leave(replica)
        orphaned, replica.in_flight = list(replica.in_flight.values()), {}
        for inference in orphaned:
            self._free(inference)
            if not inference.answered:
                self._again(inference, Unavailable(f"worker {replica.name} was lost while it had this request"))
        self.sweep()

    def refill(self, pool: Pool) -> None:
        """Bind waiting requests while replicas have room."""
        queue = pool.queue
        pool.changes.count += 1
        while (inference := queue.peek()) is not None:
            seat = pool.seat_for(inference.rows) or pool.seat_beside(inference)
            if seat is None:
                return
            queue.pop()
            waited = self._clock() - inference.queued_at
            pool.metrics.queue_seconds.observe(waited)
            pool.statistics.waited(waited)
            self._bind(inference, seat)

    def sweep(self) -> None:
        """After a change of the catalogue: serve what can be served now, refuse what never will be."""
        for pool in self._catalogue.orphans():
            self._catalogue.forget(pool)
            for inference in pool.queue:
                pool.queue.discard(inference)
                self._deadlines.discard(inference, inference.slot)
                self._elsewhere(inference)
            pool.metrics.forget()
        for pool in self._catalogue.pools():
            self.refill(pool)
            if not pool.ready:
                self._hurry(pool)

    # Drain.

    def drain(self, idle: Callable[[], None]) -> None:
        """Refuse new requests from now on; `idle` is called when the last accepted one has been answered."""
        self.draining = True
        self._idle = idle
        self._check_idle()

    def abandon(self) -> None:
        """Grace is over: answer everything that still waits with UNAVAILABLE."""
        for pool in self._catalogue.pools():
            for inference in pool.queue:
                pool.queue.discard(inference)
                self._fail(inference, Unavailable("this router is shutting down", remedy="send it to another replica"))

    # Inside.

    def _accept(self, inference: Inference, now: float) -> None:
        self._next_id += 1
        inference.id = self._next_id
        inference.queued_at = now
        self.in_flight += 1

    def _bind(self, inference: Inference, seat: Seat) -> None:
        seat.rows_in_flight += inference.rows
        seat.requests += 1
        if inference.tenant:
            seat.add(inference.tenant, inference.rows)
        inference.seat = seat
        inference.attempts += 1
        if inference.trace is not None:
            inference.trace.bound(inference, seat.replica.name)
        seat.replica.send(inference)

    @staticmethod
    def _free(inference: Inference) -> None:
        seat, inference.seat = inference.seat, None
        if seat is not None:
            seat.rows_in_flight -= inference.rows
            seat.requests -= 1
            if inference.tenant:
                seat.add(inference.tenant, -inference.rows)

    @staticmethod
    def _push(inference: Inference) -> None:
        inference.pool.queue.push(
            inference, tenant=inference.tenant, priority=inference.priority, due=inference.due, rows=inference.rows
        )

    def _enqueue(self, inference: Inference, now: float) -> None:
        self._push(inference)
        self._watch(inference, inference.deadline if inference.pool.ready else early(inference.deadline, now))

    def _hurry(self, pool: Pool) -> None:
        """No replica is left: what waits must learn so before its deadline."""
        if pool.ready:
            return
        now = self._clock()
        for leader in pool.queue:
            for inference in (leader, *followers_of(leader)):
                self._deadlines.discard(inference, inference.slot)
                self._watch(inference, early(inference.deadline, now))

    def _again(self, inference: Inference, error: DodonaError) -> None:
        """Send it once more to whichever replica has room first; `error` is the answer if the budget is spent."""
        if inference.trace is not None:
            inference.trace.returned()
        if inference.attempts >= MAX_ATTEMPTS:
            self._fail(inference, error)
            return
        inference.pool.metrics.retries.inc()
        self._deadlines.discard(inference, inference.slot)
        if self._catalogue.holds(inference.pool):
            self._enqueue(inference, self._clock())
        else:
            self._elsewhere(inference)

    def _elsewhere(self, inference: Inference) -> None:
        """Its version has gone while it waited: who named no version, or a label, gets what that stands for now."""
        spec = inference.pool.spec
        for follower in released_by(inference):
            self._deadlines.discard(follower, follower.slot)
            self._elsewhere(follower)
        try:
            inference.pool = self._catalogue.pool(spec.name, inference.wanted)
        except DodonaError:
            reason = self._catalogue.reason(spec.name, spec.version) or "its version was removed"
            self._fail(inference, Unavailable(f"model {spec} is not served: {reason}"))
        else:
            self._enqueue(inference, self._clock())
            self.refill(inference.pool)

    def _withdraw(self, inference: Inference) -> None:
        if inference.share is not None and self._company.steps_aside(inference, inference.share):
            return
        inference.pool.changes.count += 1
        if not inference.pool.queue.discard(inference) and inference.seat is not None:
            inference.seat.replica.cancel(inference)

    def _reply(self, inference: Inference, response: bytes) -> None:
        now = self._clock()
        seconds = now - inference.queued_at
        metrics = inference.pool.metrics
        metrics.request_seconds.observe(seconds)
        metrics.succeeded.inc()
        inference.pool.statistics.answered(seconds)
        if inference.trace is not None:
            inference.trace.answered(inference)
        self._close(inference)
        if inference.share is None:
            inference.on_reply(response)
        else:
            self._company.answer(inference, inference.share, response, now)

    def _fail(self, inference: Inference, error: DodonaError) -> None:
        followers = released_by(inference)
        self._record(inference, error)
        self._close(inference)
        inference.on_error(error)
        for follower in followers:
            self._fail(follower, copy(error))

    def _record(self, inference: Inference, error: DodonaError) -> None:
        seconds = self._clock() - inference.queued_at
        metrics = inference.pool.metrics
        metrics.request_seconds.observe(seconds)
        metrics.failed(error.status)
        inference.pool.statistics.refused(seconds)
        if inference.trace is not None:
            inference.trace.answered(inference, error)
        self._failures.add(inference, error, seconds)

    def _close(self, inference: Inference) -> None:
        inference.answered = True
        self._deadlines.discard(inference, inference.slot)
        self.in_flight -= 1
        if self._idle is not None:
            self._check_idle()

    def _check_idle(self) -> None:
        if self.in_flight == 0 and self._idle is not None:
            idle, self._idle = self._idle, None
            idle()

    def _watch(self, inference: Inference, give_up_at: float) -> None:
        inference.slot = self._deadlines.add(inference, give_up_at)
        if give_up_at < self._alarm.at:
            self._alarm.set(self._deadlines.next_due())

    def expire(self) -> None:
        """Answer every request whose time is up. Scheduled by itself; calling it early or twice is harmless."""
        for inference in self._deadlines.expire(self._clock()):
            if inference.answered:
                continue
            waits_for_replica = inference.seat is None and not inference.pool.ready
            self._withdraw(inference)
            spec = inference.pool.spec
            reason = self._catalogue.reason(spec.name, spec.version) if waits_for_replica else ""
            self._fail(inference, lonely(inference, reason) if waits_for_replica else late(inference))
        self._alarm.set(self._deadlines.next_due())
