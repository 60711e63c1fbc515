"""One request's part in what requests of one content share: single-flight, and the response cache in front of it.

A request that may share has a `Share`. It is one of

    a hit        its answer was kept; it never leaves the edge's turn
    a leader     it goes to a replica, as any request, and its answer is kept
    a follower   an identical request of its tenant is under way: it waits for that one's answer

A follower is counted, watched and cancelled as every request; only its run is not its own. Where a leader leaves (it is
cancelled, or out of time), the follower that came last takes its place, in the queue or at the replica, and the run
goes on. A leader is as urgent as its most urgent follower. What fails the run fails all of them alike.

Followers are sought within a tenant, because whoever follows waits in the leader's place in the queue; what was kept is
given to all.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Final

from router.policy.sharing import Key
from router.sharing.metrics import SharingFigures

if TYPE_CHECKING:
    from router.request import Inference
    from router.sharing.content import Sharing

HIT: Final = "dodona; hit"
COLLAPSED: Final = "dodona; fwd=miss; collapsed"
"""Values of Cache-Status (RFC 9211)."""


class Flight:
    """Who waits for one run; made when the first of them comes, handed on with the run."""

    __slots__ = ("followers",)

    def __init__(self) -> None:
        self.followers: dict[Inference, None] = {}


class Share:
    """One request's part."""

    __slots__ = ("__dict__", "_flight", "_key", "_place", "_runs", "_sharing")

    # Of most requests these never change, so they cost nothing to make.
    id_field: bytes = b""
    """This caller's id, to be appended to the answer: serialised messages concatenate."""
    looks: bool = True
    """Whether an answer that was kept will do, or that of an identical request."""
    stores: bool = True
    """Whether its answer may be kept."""
    inherited: bool = False
    """Whether the worker was told the deadline of another, whose place this one took."""
    status: str = ""
    """Value of Cache-Status; empty if it ran by itself."""

    def __init__(self, sharing: "Sharing", key: Key, tenant: str) -> None:
        self._sharing = sharing
        self._key = key
        self._place: Hashable = (tenant, key) if tenant else key
        self._flight: Flight | None = None
        self._runs = False

    @property
    def figures(self) -> SharingFigures:
        return self._sharing.figures

    # A new request.

    def find(self, clock: Callable[[], float]) -> "bytes | Inference | None":
        """The answer if it was kept, else the identical request under way, if there is one to follow."""
        if not self.looks:
            return None
        sharing = self._sharing
        if sharing.shelf is not None:
            response = sharing.shelf.get(self._key, clock)
            if response is not None:
                return response
        return sharing.flights.get(self._place)

    def lead(self, inference: "Inference") -> None:
        """It runs itself."""
        self._runs = True
        if self.looks:
            sharing = self._sharing
            sharing.flights[self._place] = inference
            if sharing.shelf is not None:
                sharing.figures.misses += 1

    def follow(self, inference: "Inference", leader: "Inference") -> None:
        share = leader.share
        assert share is not None
        flight = share._flight
        if flight is None:
            flight = share._flight = Flight()
        flight.followers[inference] = None
        self._flight = flight
        inference.message = leader.message  # equal in all that matters; one copy is enough

    # Its end.

    def settle(self, inference: "Inference", response: bytes, now: float) -> "Sequence[Inference]":
        """It was answered: keep the answer if it ran for it. Returns who waited for it."""
        if not self._runs:
            return ()
        shelf = self._sharing.shelf
        if shelf is not None and self.stores:
            shelf.put(self._key, response, now)
        if self._flight is None and self.looks:
            self._runs = False
            self._sharing.flights.pop(self._place, None)
            return ()
        return self.release(inference)

    def release(self, inference: "Inference") -> "Sequence[Inference]":
        """Nobody joins it any more. Returns who waited for it; they are on their own. Nothing happens to a follower."""
        if not self._runs:
            return ()
        self._runs = False
        flights = self._sharing.flights
        if flights.get(self._place) is inference:
            del flights[self._place]
        flight, self._flight = self._flight, None
        if flight is None:
            return ()
        for follower in flight.followers:
            assert follower.share is not None
            follower.share._flight = None
        return list(flight.followers)

    def leave(self, inference: "Inference") -> "Inference | None":
        """The caller has gone. Returns who runs in its place: the follower that came last, None if nobody waits for its
        run, itself if it waits for the run of another."""
        flight = self._flight
        if flight is not None and not self._runs:
            del flight.followers[inference]
            self._flight = None
            return inference
        if flight is None or not flight.followers:
            self.release(inference)
            return None
        self._runs = False
        self._flight = None
        successor, _ = flight.followers.popitem()
        share = successor.share
        assert share is not None
        share._runs = share.inherited = True
        flights = self._sharing.flights
        if flights.get(self._place) is inference:
            flights[self._place] = successor
        return successor

    def followers(self) -> "Sequence[Inference]":
        return list(self._flight.followers) if self._flight is not None and self._runs else ()
