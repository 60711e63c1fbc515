"""Whether answers of a version may be shared between identical requests, and what makes two requests identical.

Two replicas answer alike if they announced the same `content`, the sha256 of a version's files and model.yaml. While
the replicas of a version differ (one is being replaced by another with the same number), or do not say what they serve,
nothing is shared: neither kept, nor given again, nor collapsed. So no answer outlives the content that gave it.

Two requests are identical if the same bytes remain once the model's name, the version, the id and the parameters that
say only who asks and how long for have gone (`VOLATILE`). The rest is compared in full, in the form in which it
travels: the same tensors sent raw and typed, or in another order, count as different, which costs a run and never an
answer. Requests that belong to a sequence, or whose tensors lie in shared memory, equal none, not even themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from serving.wire import LENGTH_DELIMITED

VOLATILE: Final = ("timeout", "priority", "tenant", "cache")
"""Parameters that do not change an answer."""
SMALL_BYTES: Final = 4096
"""Up to this size a request is its own key; what is longer is found by a sample of it."""
_SAMPLES: Final = 512
_RAW_CONTENTS: Final = 7
_FIXED: Final = {1: 8, 5: 4}
"""Wire type -> bytes."""
_SHARED_MEMORY: Final = b"shared_memory"


@dataclass(frozen=True, slots=True)
class SharingTerms:
    """What a replica allows. `max_bytes` 0 = all that the router allows; `ttl_s` 0 = no end; `content` "" = unknown."""

    collapse: bool = False
    keep: bool = False
    max_bytes: int = 0
    ttl_s: float = 0.0
    content: str = ""


def agreed(terms: Sequence[SharingTerms]) -> SharingTerms | None:
    """What all replicas of a version allow; None if nothing may be shared between them."""
    first = terms[0] if terms else None
    if first is None or not first.content or not (first.collapse or first.keep):
        return None
    return first if all(one == first for one in terms) else None


class LongKey:
    """A long request as a key of a dictionary: hashed by a sample of its bytes, compared in full, never copied."""

    __slots__ = ("_hash", "_message", "_start")

    def __init__(self, message: bytes, start: int) -> None:
        """The key is what follows `start` in `message`, longer than SMALL_BYTES."""
        self._message = message
        self._start = start
        size = len(message) - start
        step = size // _SAMPLES
        self._hash = hash((size, message[start : start + _SAMPLES], message[-1:start:-step]))

    def __len__(self) -> int:
        """Bytes that it keeps in memory."""
        return len(self._message)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LongKey):
            return NotImplemented
        mine, theirs = len(self._message) - self._start, len(other._message) - other._start
        return mine == theirs and self._message.startswith(memoryview(other._message)[other._start :], self._start)


Key = bytes | LongKey


def key_of(message: bytes, start: int) -> Key | None:
    """The key of what follows `start` in a serialised ModelInferRequest; None if it equals no other request."""
    if len(message) - start <= SMALL_BYTES:
        return None if _SHARED_MEMORY in message else message[start:]
    for number, tag, end in fields(message, start):
        if number != _RAW_CONTENTS and message.find(_SHARED_MEMORY, tag, end) >= 0:
            return None
    return LongKey(message, start)


def front_of(message: bytes, start: int) -> bytes:
    """What stands between `start` and the bytes of the only raw tensor, where that is the message's end; else empty."""
    for number, tag, end in fields(message, start):
        if number == _RAW_CONTENTS:
            _, at = _varint(message, tag)
            _, at = _varint(message, at)
            return message[start:at] if end == len(message) else b""
    return b""


def essence(message: bytes, without: Callable[[int, bytes], bool]) -> bytes | None:
    """The fields of a message that `without` (number, the whole field) does not drop, in their order; None where they
    cannot be told apart."""
    pieces = []
    for number, tag, end in fields(message, 0):
        if not number:
            return None
        field = message[tag:end]
        if not without(number, field):
            pieces.append(field)
    return b"".join(pieces)


def fields(message: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field of a well-formed message from `start` on. What follows a field of a kind
    that has no length (a group) is one field of number 0."""
    tag = start
    while tag < len(message):
        key, at = _varint(message, tag)
        kind = key & 7
        if kind == LENGTH_DELIMITED:
            size, at = _varint(message, at)
            end = at + size
        elif kind == 0:
            _, end = _varint(message, at)
        elif kind in _FIXED:
            end = at + _FIXED[kind]
        else:
            key, end = 0, len(message)
        yield key >> 3, tag, end
        tag = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
