"""What requests to one content of a version share, and which of them are identical.

A `Sharing` stands for one content: whenever the replicas of the version change it is closed and a new one begun, so
what was kept or is under way never meets requests that came after the change.
"""

from collections.abc import Hashable
from math import inf
from typing import TYPE_CHECKING, Final

from protos import link_pb2, routing_pb2
from router.policy.admission import plausible_s
from router.policy.attention import FULL, Attention
from router.policy.replies import Replies
from router.policy.sharing import VOLATILE, SharingTerms, essence, front_of, key_of
from router.sharing.flights import Share
from router.sharing.metrics import SharingFigures
from serving.errors import InvalidRequest
from serving.policy.cost import RunCost
from serving.wire import field_bytes

if TYPE_CHECKING:
    from router.request import Inference

_NAME, _VERSION, _ID, _PARAMETERS = 1, 2, 3, 4
_MAX_HEADS: Final = 64
_TIMED: Final = 16
"""One run of so many is learned from."""
_OF_SEQUENCES: Final = ("sequence_id", "sequence_start", "sequence_end")


class Sharing:
    """What requests to one content of a version share."""

    __slots__ = (
        "_attention",
        "_cost",
        "_heads",
        "_left",
        "_replies",
        "_request_rows",
        "_runs",
        "_until",
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
        self._attention = Attention(figures.hits + figures.collapsed)
        self._left = FULL.look_up
        self._until = figures.passed_by
        """Requests pass by until so many have."""
        self._cost = RunCost()
        self._request_rows = 1.0
        self._runs = 0

    def close(self) -> None:
        """Its content has gone: nothing of it is kept, and nobody joins what is under way."""
        self.flights = {}
        shelf, self.shelf = self.shelf, None
        if shelf is not None:
            self._replies.remove(shelf)
            self.figures.shelf_gone()

    def ran(self, results: link_pb2.Results) -> None:
        """A run came back: learn what one costs."""
        self._runs += 1
        if self._runs % _TIMED == 1:
            self._cost.observe(results.rows, plausible_s(self._cost, results.infer_us / 1e6))
            self._request_rows = results.rows / len(results.ids)

    def _next_stretch(self) -> None:
        figures, cost = self.figures, self._cost
        run_s = cost.base_s + cost.per_row_s * self._request_rows if cost.seen else inf
        let_in = self.shelf.let_in if self.shelf is not None else 0
        stretch = self._attention.after(figures.hits + figures.collapsed + let_in, run_s)
        self._left = stretch.look_up
        self._until = figures.passed_by + stretch.pass_by

    def join(self, inference: "Inference", routing: routing_pb2.Request, *, plain: bool) -> None:
        """Give a new request its `share`, unless it may not have one, or passes by (router.policy.attention). What the
        caller sent loses its id on the way to the worker, and parameters that the router alone understands. `plain`: it
        has no parameters. Raises InvalidRequest."""
        if not plain and (any(name in routing.parameters for name in _OF_SEQUENCES) or _declined(routing)):
            return
        if not self._left:
            self._next_stretch()
        if self.figures.passed_by < self._until:
            self.figures.passed_by += 1
            return
        self._left -= 1
        message = inference.message = bytes(inference.message)  # a copy only of a large one
        if plain and len(message) == self._usual_bytes and message.startswith(self._usual_front):
            inference.share = Share(self, message[self._usual_start :], inference.tenant)
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
