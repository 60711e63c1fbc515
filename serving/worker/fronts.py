"""A short cut for one-row requests that differ from an earlier one in their id and their tensors' bytes only.

Clients repeat themselves: the tensors' bytes stand at the end of a message, and what stands in front of them (names,
datatypes, shapes, wanted outputs) is the same again and again, but for the request's id. What was decoded from such a
front is remembered, so a request with the same one costs a look-up instead of a parse with all its checks.

Why it is sound: protobuf reads a concatenation of messages as their merge. A front is kept only if it, its id taken
out, parses as a whole message without raw contents and without an id, lists the inputs in the signature's order, and
was followed in a valid request by exactly the heads of the tensors' fields. Whatever bytes of the same lengths follow
those heads, and whatever id is put back, the message has the same fields, so the same checks pass.
"""

from math import prod
from typing import Final

from google.protobuf.message import DecodeError

from protos import inference_pb2
from serving.spec import Signature
from serving.wire import head
from serving.worker.request import DecodedRequest

_MAX_FRONTS: Final = 256
_MAX_FRONT_BYTES: Final = 1024
_RAW_INPUT_CONTENTS: Final = 7
_NAME, _VERSION, _ID = 0x0A, 0x12, 0x1A  # heads of model_name, model_version and id, as every serialiser orders them


class Fronts:
    """For signatures whose inputs all have a fixed size. At most `_MAX_FRONTS` fronts of `_MAX_FRONT_BYTES` each."""

    __slots__ = ("_cuts", "_fronts", "_heads", "_longest", "_names", "_size")

    def __init__(self, signature: Signature) -> None:
        sizes = [prod(tensor.shape) * tensor.dtype.itemsize for tensor in signature.inputs]
        heads = [head(_RAW_INPUT_CONTENTS, size) for size in sizes]
        self._names = [tensor.name for tensor in signature.inputs]
        self._size = sum(sizes) + sum(map(len, heads))
        self._longest = self._size + _MAX_FRONT_BYTES
        self._heads: list[tuple[int, int, bytes]] = []
        self._cuts: list[tuple[int, int | None]] = []
        position = -self._size
        for size, expected in zip(sizes, heads, strict=True):
            start = position + len(expected)
            self._heads.append((position, start, expected))
            position = start + size
            self._cuts.append((start, position or None))
        self._fronts: dict[bytes, DecodedRequest] = {}

    def find(self, message: bytes | memoryview) -> DecodedRequest | None:
        if not self._size + 2 < len(message) <= self._longest:
            return None
        front = bytes(message[: -self._size])
        start, end = _id_at(front)
        known = self._fronts.get(front[:start] + front[end:])
        if known is None or not self._has_heads(message):
            return None
        id_field = front[start:end]
        if not id_field.isascii():
            return None
        return DecodedRequest(
            rows=1,
            parts=tuple([message[cut_start:cut_end] for cut_start, cut_end in self._cuts]),
            shapes=None,
            id_field=id_field if len(id_field) > 2 else b"",
            outputs=known.outputs,
            explain=known.explain,
        )

    def keep(self, message: bytes | memoryview, request: DecodedRequest) -> None:
        """Remember the front of a valid one-row request, where the rule above allows it."""
        if not self._size + 2 < len(message) <= self._longest or not self._has_heads(message):
            return
        whole_front = bytes(message[: -self._size])
        start, end = _id_at(whole_front)
        front = whole_front[:start] + whole_front[end:]
        try:
            parsed = inference_pb2.ModelInferRequest.FromString(front)
        except DecodeError:
            return
        if parsed.raw_input_contents or parsed.id or [tensor.name for tensor in parsed.inputs] != self._names:
            return
        if len(self._fronts) >= _MAX_FRONTS:
            self._fronts.clear()
        self._fronts[front] = DecodedRequest(
            rows=1, parts=(), shapes=None, id_field=b"", outputs=request.outputs, explain=request.explain
        )

    def _has_heads(self, message: bytes | memoryview) -> bool:
        for start, end, expected in self._heads:  # noqa: SIM110 - a loop costs a third of all()
            if message[start:end] != expected:
                return False
        return True


def _id_at(message: bytes) -> tuple[int, int]:
    """Where the id's field stands, if it is where serialisers put it and short; else an empty range."""
    try:
        at = 0
        for tag in (_NAME, _VERSION):
            if message[at] == tag:
                if message[at + 1] >= 0x80:
                    return 0, 0
                at += 2 + message[at + 1]
        if message[at] == _ID and message[at + 1] < 0x80:
            return at, at + 2 + message[at + 1]
    except IndexError:
        pass
    return 0, 0
