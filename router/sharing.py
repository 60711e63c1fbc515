"""Identical requests of one version: answered from what was kept, or waiting for one run of them all.

A `Sharing` stands for one content of a version: whenever the replicas of the version change, it is closed and a new
one begun (`renew`), so what was kept or is under way never meets requests that came after the change. A request that
may share has a `Share`. It is one of

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

from protos import routing_pb2
from router.policy.replies import Replies, Shelf
from router.policy.sharing import VOLATILE, Key, SharingTerms, essence, front_of, key_of
from serving.errors import InvalidRequest
from serving.wire import field_bytes

if TYPE_CHECKING:
    from router.request import Inference

_NAME, _VERSION, _ID, _PARAMETERS = 1, 2, 3, 4
_MAX_HEADS: Final = 64
TIMED: Final = 16
"""One miss of so many is timed, and counts for them all."""
_OF_SEQUENCES: Final = ("sequence_id", "sequence_start", "sequence_end")

HIT: Final = "dodona; hit"
COLLAPSED: Final = "dodona; fwd=miss; collapsed"
"""Values of Cache-Status (RFC 9211)."""


class SharingFigures:
    """Of one version since it is known. Seconds are those spent looking up and storing."""

    __slots__ = ("_evicted", "collapsed", "hit_s", "hits", "miss_s", "misses", "shelf")

    def __init__(self) -> None:
        self.hits = self.misses = self.collapsed = self._evicted = 0
        self.hit_s = self.miss_s = 0.0
        self.shelf: Shelf | None = None
        """Where answers are kept now."""

    @property
    def evicted(self) -> int:
        return self._evicted + (self.shelf.evicted if self.shelf is not None else 0)

    @property
    def bytes(self) -> int:
        return self.shelf.bytes if self.shelf is not None else 0

    @property
    def entries(self) -> int:
        return len(self.shelf) if self.shelf is not None else 0

    def shelf_gone(self) -> None:
        self._evicted = self.evicted
        self.shelf = None


class Sharing:
    """What requests to one content of a version share."""

    __slots__ = (
        "_heads",
        "_replies",
        "_usual_bytes",
        "_usual_front",
        "_usual_start",
        "figures",
        "flights",
        "shelf",
        "terms",
    )

    def __init__(self, terms: SharingTerms, replies: Replies, figures: SharingFigures) -> None:
        self.terms = terms
        self.figures = figures
        self.flights: dict[Hashable, Inference] = {}
        """Tenant and key -> the leader under way."""
        self._replies = replies
        keeps = terms.keep and replies.max_bytes > 0
        self.shelf = figures.shelf = replies.shelf(terms.max_bytes, terms.ttl_s) if keeps else None
        self._heads: dict[str, bytes] = {}
        self._usual_front = b""
        self._usual_bytes = self._usual_start = -1

    def close(self) -> None:
        """Its content has gone: nothing of it is kept, and nobody joins what is under way."""
        self.flights = {}
        shelf, self.shelf = self.shelf, None
        if shelf is not None:
            self._replies.remove(shelf)
            self.figures.shelf_gone()

    def join(self, inference: "Inference", routing: routing_pb2.Request, *, plain: bool) -> None:
        """Give a new request its `share`, unless it may not have one. What the caller sent loses its id on the way to
        the worker, and parameters that the router alone understands. `plain`: it has no parameters. Raises
        InvalidRequest."""
        message = inference.message = bytes(inference.message)  # a copy only of a large one
        if plain and len(message) == self._usual_bytes and message.startswith(self._usual_front):
            inference.share = Share(self, message[self._usual_start :], inference.tenant)
            return
        if not plain and (any(name in routing.parameters for name in _OF_SEQUENCES) or _declined(routing)):
            return
        head = self._heads.get(inference.wanted) or self._head(routing)
        id_field = field_bytes(_ID, routing.id.encode())
        front = head + id_field
        rest = message[len(front) :] if plain and message.startswith(front) else essence(message, _says_who)
        if rest is None:
            return
        if len(head) + len(rest) != len(message) or not message.startswith(head):
            message = head + rest
        key = key_of(message, len(head))
        if key is None:
            return
        if isinstance(key, bytes) and message is inference.message:
            self._learn(message, len(head))
        inference.message = message
        inference.share = Share(self, key, inference.tenant)
        if id_field:
            inference.share.id_field = id_field

    def _learn(self, message: bytes, start: int) -> None:
        """Remember what a request of one tensor begins with, up to the tensor, which ends it: others that begin so, and
        are as long, hold nothing else, and need not be searched."""
        front = front_of(message, start)
        if front:
            self._usual_front = message[: start + len(front)]
            self._usual_bytes = len(message)
            self._usual_start = start

    def _head(self, routing: routing_pb2.Request) -> bytes:
        """What a message begins with, where its writer kept to the order of the fields."""
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        version = routing.model_version
        head = field_bytes(_NAME, routing.model_name.encode()) + field_bytes(_VERSION, version.encode())
        self._heads[version] = head
        return head


def _declined(routing: routing_pb2.Request) -> bool:
    """Whether the caller sent the parameter `cache: false`."""
    if "cache" not in routing.parameters:
        return False
    parameter = routing.parameters["cache"]
    if parameter.WhichOneof("choice") != "bool_param":
        raise InvalidRequest("must be true or false", field="parameters.cache", remedy="send bool_param")
    return not parameter.bool_param


def _says_who(number: int, field: bytes) -> bool:
    """Whether a field of a request says who asks, of whom, or for how long, and nothing that its answer hangs on."""
    if number == _PARAMETERS:
        return not routing_pb2.Request.FromString(field).parameters.keys().isdisjoint(VOLATILE)
    return number in (_NAME, _VERSION, _ID)


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

    def __init__(self, sharing: Sharing, key: Key, tenant: str) -> None:
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
