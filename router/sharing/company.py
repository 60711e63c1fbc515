"""Requests that travel together: what the Dispatcher does with those that may share (router/sharing/flights.py).

Called by the Dispatcher in the middle of its own steps, synchronously; it acts only through what the Dispatcher lends
it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protos import link_pb2
from router.refusals import early
from router.request import Inference
from router.sharing.flights import COLLAPSED, HIT, Share
from serving.errors import DodonaError
from serving.link.words import error_of
from serving.status import Status

_TIMED: Final = 16
"""One miss of so many is timed, and counts for them all."""
_OF_ONE_CALLER: Final = (Status.DEADLINE_EXCEEDED, Status.CANCELLED)
"""Failures that say something of the caller in whose name a run was made, and nothing of the request."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What the Dispatcher lends."""

    accept: Callable[[Inference, float], None]
    """Count it, from now on until its answer."""
    watch: Callable[[Inference, float], None]
    """Give up on it at that time."""
    push: Callable[[Inference], None]
    """Into the queue of its version."""
    again: Callable[[Inference, DodonaError], None]
    reply: Callable[[Inference, bytes], None]
    fail: Callable[[Inference, DodonaError], None]


class Company:
    def __init__(self, steps: Steps, *, is_full: Callable[[], bool], clock: Callable[[], float]) -> None:
        """`is_full`: whether the router has its fill of requests."""
        self._steps = steps
        self._is_full = is_full
        self._clock = clock

    def meets(self, inference: Inference, share: Share) -> bool:
        """Answer a new request with what was kept, or let it wait for an identical one; False if it has to run."""
        found = share.find(self._clock)
        if found is None:
            return False
        now = self._clock()
        if now >= inference.deadline:
            return False
        steps = self._steps
        if isinstance(found, bytes):
            steps.accept(inference, now)
            share.status = HIT
            share.figures.hits += 1
            steps.reply(inference, found)
            share.figures.hit_s += self._clock() - now
            return True
        leader = found
        if self._is_full():
            return False
        steps.accept(inference, now)
        share.follow(inference, leader)
        steps.watch(inference, inference.deadline if inference.pool.ready else early(inference.deadline, now))
        if leader.hurry(inference) and leader.pool.queue.discard(leader):
            steps.push(leader)
        return True

    def steps_aside(self, inference: Inference, share: Share) -> bool:
        """Its caller has gone; False if it takes the run with it, because nobody else waits for it."""
        successor = share.leave(inference)
        if successor is None:
            return False
        if successor is not inference:
            self._hand_over(inference, successor)
        return True

    def _hand_over(self, inference: Inference, successor: Inference) -> None:
        """The run goes on, in the queue or at the replica, in the name of another who waits for it."""
        successor.attempts = inference.attempts
        successor.hurry(inference)
        seat = inference.seat
        if seat is not None:
            successor.seat, inference.seat = seat, None
            successor.id, inference.id = inference.id, successor.id
            seat.replica.replace(inference, successor)
        elif inference.pool.queue.discard(inference):
            self._steps.push(successor)

    def outlives(self, inference: Inference, share: Share, failure: link_pb2.Failure) -> bool:
        """The worker gave up on a run because its caller's time was over, or its caller gone. Whether others have time
        left, for whom it is run again; that is no retry of something that failed."""
        if failure.status not in _OF_ONE_CALLER:
            return False
        error = error_of(failure)
        heir = inference
        if not share.inherited:
            successor = share.leave(inference)
            if successor is None:
                return False
            self._hand_over(inference, successor)
            self._steps.fail(inference, error)
            heir = successor
        heir.attempts -= 1
        if heir.share is not None:
            heir.share.inherited = False
        self._steps.again(heir, error)
        return True

    def answer(self, inference: Inference, share: Share, response: bytes, now: float) -> None:
        """Give the answer to its caller and to all who waited for it; keep it for those to come."""
        followers = share.settle(inference, response, now)
        figures = share.figures
        if figures.misses % _TIMED == 0 and not share.status:
            figures.miss_s += _TIMED * (self._clock() - now)
        inference.on_reply(response + share.id_field if share.id_field else response)
        for follower in followers:
            if follower.share is not None:
                follower.share.status = COLLAPSED
            figures.collapsed += 1
            self._steps.reply(follower, response)


def followers_of(inference: Inference) -> Sequence[Inference]:
    """Who waits for its run."""
    return inference.share.followers() if inference.share is not None else ()


def released_by(inference: Inference) -> Sequence[Inference]:
    """Who waited for its run, from now on on their own."""
    return inference.share.release(inference) if inference.share is not None else ()
