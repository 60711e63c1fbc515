"""One connection: which bytes are a head, a body, or the next request's, and what may be written when.

Requests are taken one at a time: what a caller sends ahead (pipelining) waits until its predecessor is answered, so
answers are in order and a connection holds one request's work. `full` says when the listener should stop reading.

A request that is refused before its body has come is answered at once, and the body read over; where that would be
much, or the caller still waits for 100 Continue, the connection ends behind the answer.
"""

from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Final

from router.http1.chunks import ChunkReader
from router.http1.heads import END, Head, HeadReader, malformed
from serving.errors import DodonaError, TooLarge, above_limit

READ_AHEAD: Final = 64 * 1024
"""Bytes kept of what a caller sends before it has its answer."""
READ_OVER: Final = 16 * 1024 * 1024
"""Bytes of a refused body read over for the sake of the connection."""


@dataclass(slots=True)
class Arrived:
    """A whole request, or one that needs no further reading because of its `fault`."""

    head: Head
    body: bytes
    fault: DodonaError | None = None


@dataclass(slots=True)
class Opened:
    """A head whose body is still to come. The listener may `refuse` it; else, if `head.expects`, it says 100."""

    head: Head


@dataclass(slots=True)
class Refused:
    """Nobody can tell where the next request begins, so the connection ends after this."""

    error: DodonaError


Event = Arrived | Opened | Refused


class State(Enum):
    HEAD = "head"
    """Before a request, or in its head."""
    BODY = "body"
    ANSWER = "answer"
    """A request has arrived and is not answered."""
    OVER = "over"
    """Nothing more is read."""


class Connection:
    __slots__ = (
        "_ahead",
        "_body",
        "_chunks",
        "_head",
        "_heads",
        "_max_body",
        "_max_head",
        "_skipped",
        "closes",
        "state",
    )

    def __init__(self, heads: HeadReader, max_head: int, max_body: int) -> None:
        """router.limits.max_header_bytes and max_message_bytes."""
        self.state = State.HEAD
        self.closes = False
        """Whether the connection ends behind the next answer."""
        self._heads = heads
        self._max_head = max_head
        self._max_body = max_body
        self._ahead = b""
        self._head: Head | None = None
        self._body = BytesIO()
        self._chunks: ChunkReader | None = None
        self._skipped = 0
        """Bytes of a refused body that are still to be read over."""

    @property
    def full(self) -> bool:
        """Whether enough was read ahead."""
        return self.state is State.ANSWER and len(self._ahead) > READ_AHEAD

    @property
    def idle(self) -> bool:
        """Between two requests, with nothing of the next."""
        return self.state is State.HEAD and not self._ahead and not self.skipping

    @property
    def skipping(self) -> bool:
        """Whether the rest of a refused body is still to come."""
        return self.state is not State.BODY and (self._skipped > 0 or self._chunks is not None)

    def receive(self, data: bytes) -> Event | None:
        """What the caller sent; the next event, if there is one. After `Arrived`, `answered` gives the one that
        follows; after `Opened`, `go_on`."""
        if self._ahead:
            data = self._ahead + data
            self._ahead = b""
        try:
            if self.state is State.HEAD:
                rest = self._skip(data) if self.skipping else data
                return self._read_head(rest) if rest else None
            if self.state is State.BODY:
                return self._read_body(data)
            if self.state is State.ANSWER:
                self._ahead = self._skip(data) if self.skipping else data
        except DodonaError as error:
            return self._end(error)
        return None

    def answered(self) -> Event | None:
        """The answer is written; what was read ahead may hold the next request."""
        self.state = State.OVER if self.closes else State.HEAD
        return self.receive(b"") if self._ahead and not self.closes else None

    def go_on(self) -> Event | None:
        """After `Opened`: read on in the body."""
        return self.receive(b"") if self._ahead else None

    def refuse(self, error: DodonaError) -> Arrived:
        """After `Opened`, or while the body comes: answer with `error` and read over the rest of the body."""
        head = self._head
        assert head is not None
        if self._chunks is not None:
            self._chunks.skip()
        else:
            self._skipped = head.length - self._body.tell()
        if self._too_much_to_skip() or (head.expects and not self._any_body):
            self._stop_reading()
        self._body = BytesIO()
        event = self._arrived(head, b"", error)
        if self.skipping:
            try:
                self._ahead = self._skip(self._ahead)
            except DodonaError:
                self._stop_reading()
        return event

    @property
    def _any_body(self) -> bool:
        return self._body.tell() > 0 or bool(self._ahead) or (self._chunks is not None and self._chunks.size > 0)

    def _too_much_to_skip(self) -> bool:
        return self._skipped > READ_OVER or (self._chunks is not None and self._chunks.excess > READ_OVER)

    def _stop_reading(self) -> None:
        self._skipped = 0
        self._chunks = None
        self._ahead = b""
        self.closes = True
        if self.state is State.HEAD:  # its answer has gone out already
            self.state = State.OVER

    def _skip(self, data: bytes) -> bytes:
        """What follows the body that is read over."""
        if self._chunks is None:
            rest = data[self._skipped :]
            self._skipped -= len(data) - len(rest)
            return rest
        after = self._chunks.feed(data)
        if self._too_much_to_skip():
            self._stop_reading()
        elif after is not None:
            self._chunks = None
            return after
        return b""

    # Reading.

    def _read_head(self, data: bytes) -> Event | None:
        end = data.find(END) + 4
        if end == 3:
            self._partial_head(data)
            return None
        if data[0] <= 13:  # empty lines before a request are passed over
            data = data.lstrip(b"\r\n")
            end = data.find(END) + 4
            if end == 3:
                self._partial_head(data)
                return None
        head = self._heads.read(data[:end])
        self.closes |= not head.keeps
        size = head.length
        rest = len(data) - end - size
        if rest < 0 or head.chunked or size > self._max_body:
            return self._open(head, data[end:])
        if rest:
            self._ahead = data[end + size :]
            return self._arrived(head, data[end : end + size])
        return self._arrived(head, data[end:])

    def _open(self, head: Head, start: bytes) -> Event:
        """A body that is not there yet, or that is too large; `start` is what came of it."""
        self._head = head
        self._body = BytesIO()
        self._ahead = start
        self.state = State.BODY
        if head.length > self._max_body:
            return self.refuse(body_too_large(head.length, self._max_body))
        self._chunks = ChunkReader(self._max_body, self._max_head) if head.chunked else None
        return Opened(head)

    def _partial_head(self, data: bytes) -> None:
        """Keep it; refuse at once what can become no head."""
        data = data.lstrip(b"\r\n") if data and data[0] <= 13 else data
        self._heads.check_size(len(data))
        if data.count(b"\n") != data.count(b"\r\n"):
            raise malformed("a line ends without CR")
        if data and not 65 <= data[0] <= 90:
            raise malformed("no method")
        self._ahead = data

    def _read_body(self, data: bytes) -> Event | None:
        head = self._head
        assert head is not None
        if self._chunks is not None:
            return self._read_chunks(head, self._chunks, data)
        missing = head.length - self._body.tell()
        if len(data) < missing:
            self._body.write(data)
            return None
        if len(data) == missing:
            self._body.write(data)
        else:
            self._body.write(data[:missing])
            self._ahead = data[missing:]
        body, self._body = self._body.getvalue(), BytesIO()
        return self._arrived(head, body)

    def _read_chunks(self, head: Head, chunks: ChunkReader, data: bytes) -> Event | None:
        rest = chunks.feed(data)
        if rest is not None:
            self._ahead = rest
        if chunks.excess > 0:
            return self._grown(head, ended=rest is not None)
        if rest is None:
            return None
        self._chunks = None
        return self._arrived(head, chunks.body())

    def _grown(self, head: Head, *, ended: bool) -> Arrived:
        """The chunks have grown above the bound."""
        if ended:
            self._chunks = None
        elif self._too_much_to_skip():
            self._stop_reading()
        return self._arrived(head, b"", body_too_large(None, self._max_body))

    def _arrived(self, head: Head, body: bytes, fault: DodonaError | None = None) -> Arrived:
        self._head = None
        self.state = State.ANSWER
        return Arrived(head, body, fault)

    def _end(self, error: DodonaError) -> Refused:
        self.state = State.OVER
        self.closes = True
        return Refused(error)


def body_too_large(size: int | None, limit: int) -> TooLarge:
    """`size` where it is known, in bytes."""
    what = "body" if size is None else f"body of {size} bytes"
    return above_limit(what, "router.limits.max_message_bytes", limit)
