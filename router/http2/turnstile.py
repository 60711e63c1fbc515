"""Requests that are turned away before anything is made for them.

Where there is far too much work, most of what comes is refused, and what refusing costs is not there for serving
(router/policy/standing.py has the arithmetic). So a refusal that stands is put up here as a `Bar`, with its trailers
encoded: a whole unary request like the one first refused (a header block known by its bytes, one DATA frame of the same
size that begins in the same way) is answered where its bytes lie, without a stream, a call or a copy of its message.

Frames are looked at by `Turnstile.turn_away` only as long as they are exactly that. At the first that is anything else,
whatever is wrong with it, it stops, and the connection reads on from there as if nothing had been; so no check is made
here in a second place, but for those that hold for such a request: its stream's number, the room of the connection's
windows, the bound on open streams.

Bars are shared by the connections of a listener, for they compare heads by what they say.
"""

from typing import Final, Protocol

from router.http2 import replies
from router.http2.counters import Counters
from router.http2.frames import DATA, END_HEADERS, END_STREAM, HEAD, HEAD_BYTES, HEADERS, MAX_STREAM_ID
from router.http2.grpc_message import PREFIX, PREFIX_BYTES, Message
from router.http2.headers import BlockReader
from router.http2.intake import Intake
from router.http2.limits import Http2Limits
from router.http2.metadata import Metadata
from router.http2.request import RequestHead
from router.http2.sender import Sender
from router.http2.table import StreamTable
from serving.errors import DodonaError

_MOST_SIZES: Final = 64
_MOST_OF_A_SIZE: Final = 8
_LONGEST_TEXT: Final = 4096
_NUMBER: Final = b"-%06x"
_LAST: Final = END_STREAM | END_HEADERS


class Standing(Protocol):
    """What a bar repeats (router.policy.standing.Standing)."""

    def refusal(self, now: float) -> DodonaError | None:
        """The answer to one more; None if it is not to be turned away now."""

    def repeat(self) -> int:
        """Count one more; returns how many there have been."""


class Bar:
    """`begins`: what the message of every request like it begins with; `front`: the same with gRPC's prefix."""

    __slots__ = ("_block", "_echo", "_error", "_head", "_number", "_standing", "_word", "begins", "front", "size")

    def __init__(self, head: RequestHead, message: Message, begins: bytes, standing: Standing, echo: Metadata) -> None:
        """`echo`: trailers of the first of them beside the error. Raises LocalError if they may not be sent."""
        self.begins = begins
        self.front = PREFIX.pack(0, len(message)) + begins
        self.size = PREFIX_BYTES + len(message)
        self._standing = standing
        self._head = head
        # What the caller did not say was made up for the first of them: each of the others gets a number of its own.
        self._number = b"" if set(echo) <= set(head.metadata) else _NUMBER
        if self._number:
            *others, (name, value) = echo
            echo = (*others, (name, f"{value!s}{(_NUMBER % 0).decode()}"))
        self._echo = replies.metadata_block(echo)
        self._error: DodonaError | None = None
        self._block = b""
        self._word = 0

    def meets(self, head: RequestHead) -> bool:
        """Whether requests with this head are alike."""
        mine = self._head
        return head is mine or (
            head.path == mine.path
            and head.timeout_s == mine.timeout_s
            and head.metadata == mine.metadata
            and head.refusal is None
            and head.content_length in (None, self.size)
        )

    def replaces(self, other: "Bar") -> bool:
        return self.front == other.front and self.meets(other._head)

    def is_down(self, now: float) -> bool:
        """Whether requests like it are turned away now."""
        error = self._standing.refusal(now)
        if error is not None and error is not self._error:
            self._error = error
            block = replies.OK_HEAD + replies.error_trailers(error, _LONGEST_TEXT) + self._echo
            self._word = len(block) << 8 | HEADERS
            self._block = block[: -len(_NUMBER % 0)] if self._number else block
        return error is not None

    def block(self) -> bytes:
        """Trailers for one more, while it is down."""
        number = self._standing.repeat() & 0xFFFFFF
        return self._block + self._number % number if self._number else self._block

    def frame(self, stream_id: int) -> bytes:
        return HEAD.pack(self._word, _LAST, stream_id) + self.block()


class Bars:
    """All that stand, by the size of the message with its prefix."""

    __slots__ = ("by_size",)

    def __init__(self) -> None:
        self.by_size: dict[int, list[Bar]] = {}

    def put_up(self, bar: Bar) -> None:
        """In the place of an earlier one of the same kind."""
        if len(self.by_size) >= _MOST_SIZES:
            self.by_size.clear()
        others = [other for other in self.by_size.get(bar.size, ()) if not bar.replaces(other)]
        self.by_size[bar.size] = [*others[-_MOST_OF_A_SIZE + 1 :], bar]

    def find(self, head: RequestHead, message: Message, now: float) -> Bar | None:
        """What a request meets whose message lies apart."""
        for bar in self.by_size.get(PREFIX_BYTES + len(message), ()):
            if message[: len(bar.begins)] == bar.begins and bar.meets(head):
                return self._if_down(bar, now)
        return None

    def find_at(self, head: RequestHead, received: bytes, at: int, size: int, now: float) -> Bar | None:
        """What a request meets whose `size` bytes of DATA begin at `at`."""
        for bar in self.by_size.get(size, ()):
            if received.startswith(bar.front, at) and bar.meets(head):
                return self._if_down(bar, now)
        return None

    def _if_down(self, bar: Bar, now: float) -> Bar | None:
        """Whoever is admitted takes the bar away: the next that is refused puts up another."""
        if bar.is_down(now):
            return bar
        others = [other for other in self.by_size[bar.size] if other is not bar]
        if others:
            self.by_size[bar.size] = others
        else:
            del self.by_size[bar.size]
        return None


class Turnstile:
    """Of one connection."""

    __slots__ = ("_bars", "_blocks", "_counters", "_intake", "_limits", "_sender", "_table", "bars")

    def __init__(
        self,
        bars: Bars,
        blocks: BlockReader,
        limits: Http2Limits,
        counters: Counters,
        *,
        table: StreamTable,
        sender: Sender,
        intake: Intake,
    ) -> None:
        self._bars = bars
        self.bars = bars.by_size
        """Empty, mostly."""
        self._blocks = blocks
        self._limits = limits
        self._counters = counters
        self._table = table
        self._sender = sender
        self._intake = intake

    def turn_away(self, received: bytes, start: int, now: float) -> int:
        """Answer the requests at `start` that meet a bar; returns where the first begins that does not."""
        table, heads = self._table, self._blocks.heads
        if table.refusing or self._sender.has_preamble or len(table.open) >= self._limits.max_streams:
            return start
        unpack, send, largest = HEAD.unpack_from, self._sender.control, self._limits.max_frame_bytes
        end = len(received)
        last_id, taken, times = table.last_id, 0, 0
        bar: Bar | None = None
        while start + 2 * HEAD_BYTES <= end:
            word, flags, stream_id = unpack(received, start)
            block_at = start + HEAD_BYTES
            data_at = block_at + (word >> 8)
            if word & 0xFF != HEADERS or flags != END_HEADERS or data_at + HEAD_BYTES > end:
                break
            word, flags, data_id = unpack(received, data_at)
            size = word >> 8
            message_at = data_at + HEAD_BYTES
            if word & 0xFF != DATA or flags != END_STREAM or data_id != stream_id or message_at + size > end:
                break
            if not last_id < stream_id <= MAX_STREAM_ID or not stream_id & 1 or size > largest:
                break
            head = heads.get(received[block_at:data_at])
            if head is None:
                break
            if bar is None or size != bar.size or not received.startswith(bar.front, message_at) or not bar.meets(head):
                bar = self._bars.find_at(head, received, message_at, size, now)
                if bar is None:
                    break
            send(bar.frame(stream_id))
            last_id = stream_id
            taken += size
            times += 1
            start = message_at + size
        if times:
            table.last_id = last_id
            self._counters.streams += times
            self._intake.arrived(taken)
        return start
