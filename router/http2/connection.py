"""One HTTP/2 connection as a gRPC server sees it, without I/O.

Theory of operation
-------------------
Bytes go into `receive`, which returns events; calls such as `reply` turn into bytes that `take` hands out. There is no
socket, clock or task in here: the owner passes the time in, writes what `take` gives once per event-loop turn, and says
`held = True` while its transport cannot take more. Nothing here waits, and every buffer has a bound in `Http2Limits`.

A call goes through these states:

    HEADERS --> open ------ END_STREAM from the caller ----> half-closed --- our trailers ---> closed
                 |  (a unary call is reported only here,         |
                 |   whole, as UnaryArrived)                     +--- RST_STREAM --> closed, CallGone
                 +--- our trailers + RST_STREAM(NO_ERROR) ----> closed (answered before it was all sent)

The common case, a unary request that fits one DATA frame, is read in three steps: `_read` finds the frames,
Opener finds the head in BlockReader's cache, `_on_data` slices the message out. Everything else about DATA is
Intake's, everything about sending Sender's.

Faults come in three sizes. What gRPC forbids (a truncated message, an unknown encoding) is answered with a status, on
that call. What HTTP/2 forbids on one stream is answered with RST_STREAM, and paid for from an allowance, so that a
peer cannot make us reset without end. What harms the connection ends it with GOAWAY, and nothing more is read.

A stream we closed before the caller was done may still receive what was under way: StreamTable remembers those.
"""

from typing import Final

from router.http2 import frames
from router.http2.answers import Answers
from router.http2.control import Control, read_increment
from router.http2.counters import Counters
from router.http2.errors import ErrorCode, RemoteError, RemoteStreamError
from router.http2.frames import END_STREAM, HEAD, HEAD_BYTES, PADDED
from router.http2.greeting import HTTP1_ANSWER, greeting
from router.http2.grpc_message import PREFIX, PREFIX_BYTES
from router.http2.inbox import Inbox
from router.http2.intake import RUN_FRAME_BYTES, Intake
from router.http2.limits import Allowance, Http2Limits
from router.http2.opener import Opener
from router.http2.request import HeadReader
from router.http2.sender import Sender
from router.http2.streams import CallGone, ConnectionFailed, Event, Stream, UnaryArrived
from router.http2.table import StreamTable
from router.http2.turnstile import Bars, Turnstile
from router.http2.unread import Unread
from serving.errors import DodonaError, TooLarge

_ALL: Final = 1 << 60


class Connection:
    """`heads` may be shared by all connections of a listener, `counters` and `bars` too."""

    __slots__ = (
        "_counters",
        "_events",
        "_inbox",
        "_intake",
        "_largest",
        "_largest_simple",
        "_limits",
        "_now",
        "_opener",
        "_resets",
        "_sender",
        "_table",
        "_turnstile",
        "answers",
        "control",
        "failed",
        "streams",
        "unread",
    )

    def __init__(self, heads: HeadReader, limits: Http2Limits, counters: Counters, bars: Bars | None = None) -> None:
        self._limits = limits
        self._largest = HEAD_BYTES + limits.max_frame_bytes
        self._largest_simple = PREFIX_BYTES + limits.max_message_bytes
        self._counters = counters
        self._events: list[Event] = []
        self._inbox = Inbox(self._largest)
        self.unread = Unread()
        """What `most` events left for later."""
        self._table = StreamTable()
        self._sender = Sender(limits)
        self._intake = Intake(limits, self._sender, self._events)
        self.control = Control(limits, self._sender, self._table)
        """PING, and draining."""
        self._resets = Allowance(limits.reset_burst, limits.reset_per_s)
        self._now = 0.0
        self.answers = Answers(limits, self._table, self._sender, self._intake)
        """How the owner answers calls."""
        self.streams = self._table.open
        """Calls not yet closed, by stream id."""
        self._opener = Opener(
            heads,
            limits,
            counters,
            table=self._table,
            sender=self._sender,
            answers=self.answers,
            events=self._events,
        )
        self._turnstile = Turnstile(
            bars or Bars(),
            self._opener.blocks,
            limits,
            counters,
            table=self._table,
            sender=self._sender,
            intake=self._intake,
        )
        self.failed = False
        """Nothing more is read; send what `take` gives and close."""

    # Bytes in, events out.

    def receive(self, received: bytes, now: float, most: int = _ALL) -> list[Event]:
        """Read what came at `now` (seconds on a monotonic clock). Never raises for what the peer sends.

        The events are to be dealt with before the next call, which reuses the list. Where they are `most` or more, the
        rest may be `unread`, until `read_on` is called.
        """
        self._events.clear()
        if self.unread:
            self.unread.add(received, now)
            return self.read_on(most)
        if not self.failed:
            self._read_from(received, 0, now, most)
        return self._events

    def read_on(self, most: int = _ALL) -> list[Event]:
        """Events of what is unread."""
        events, unread = self._events, self.unread
        events.clear()
        while unread and len(events) < most:
            self._read_from(*unread.pop(), most)
        return events

    def _read_from(self, received: bytes, start: int, now: float, most: int) -> None:
        self._now = self._opener.now = now
        try:
            if not start and (self._inbox or not self._inbox.prefaced):
                start = self._join(received)
            stop = self._read(received, start, most)
        except RemoteError as error:
            self._fail(error)
        else:
            if stop < len(received):
                self.unread.put_back(received, stop, now)

    def _join(self, received: bytes) -> int:
        """Read the frame, or the preface, that began earlier; returns where the next one begins."""
        greeted = self._inbox.prefaced
        frame, start = self._inbox.join(received)
        if self._inbox.prefaced and not greeted:
            # Not earlier: a peer that speaks HTTP/1 gets an answer it can read.
            self._sender.control(greeting(self._limits))
        if frame:
            self._read(frame, 0, _ALL)
        return start

    def _read(self, received: bytes, start: int, most: int) -> int:
        """Read whole frames from `start` until there are `most` events; returns where it stopped. What is no whole
        frame is kept for `_join`."""
        opener, turnstile, events = self._opener, self._turnstile, self._events
        bars = turnstile.bars
        end = len(received)
        need = HEAD_BYTES
        while end - start >= HEAD_BYTES and len(events) < most:
            word, flags, stream_id = HEAD.unpack_from(received, start)
            need = HEAD_BYTES + (word >> 8)
            if need > self._largest:
                raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "frame above SETTINGS_MAX_FRAME_SIZE")
            if end - start < need:
                break
            kind = word & 0xFF
            stream_id &= frames.MAX_STREAM_ID
            if opener.partial is not None or not self.control.greeted:
                self._check_order(kind, flags)
            try:
                if kind == frames.DATA:
                    need = self._on_data(flags, stream_id, received, start + HEAD_BYTES, start + need) - start
                elif kind == frames.HEADERS:
                    if bars and (after := turnstile.turn_away(received, start, self._now)) > start:
                        start = after
                        need = HEAD_BYTES
                        continue
                    ended = opener.on_headers(flags, stream_id, received, start + HEAD_BYTES, start + need)
                    if ended is not None:
                        self._on_end(ended)
                else:
                    self._on_other(kind, flags, stream_id, received[start + HEAD_BYTES : start + need])
            except RemoteStreamError as error:
                self._reset(error)
            start += need
            need = HEAD_BYTES
        if len(events) >= most:
            return start
        if start < end:
            self._inbox.keep(received[start:], need)
        return end

    def _check_order(self, kind: int, flags: int) -> None:
        if self._opener.partial is not None and kind != frames.CONTINUATION:
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, f"frame of type {kind} within a header block")
        if not self.control.greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise RemoteError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _on_data(self, flags: int, stream_id: int, frame: bytes, start: int, stop: int) -> int:
        """Returns where the next frame begins: behind this one, or behind more that go on with the same message."""
        size = stop - start
        stream = self.streams.get(stream_id)
        if size >= RUN_FRAME_BYTES and not flags and stream is not None:
            after = self._intake.read_run(stream, frame, start - HEAD_BYTES, size)
            if after:
                return after
        self._intake.arrived(size)
        if stream is None:
            self._table.check_stray(stream_id, "DATA")
            self.control.spend(self._now)
            return stop
        if stream.remote_closed:
            raise RemoteStreamError(stream_id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        if (
            flags == END_STREAM
            and stream.reader is None
            and stream.head.unary
            and PREFIX_BYTES <= size <= self._largest_simple
        ):
            compressed, length = PREFIX.unpack_from(frame, start)
            if not compressed and length == size - PREFIX_BYTES and stream.head.content_length in (None, size):
                stream.remote_closed = True
                self._events.append(UnaryArrived(stream, frame[start + PREFIX_BYTES : stop]))
                return stop
        self._on_any_data(stream, flags, memoryview(frame), start, stop)
        return stop

    def _on_any_data(self, stream: Stream, flags: int, frame: memoryview, start: int, stop: int) -> None:
        size = stop - start
        if flags & PADDED:
            start, stop = frames.strip(frame, PADDED, start, stop)
        if start == stop and not flags & END_STREAM:
            self.control.spend(self._now)
        try:
            self._intake.read(stream, frame[start:stop], size)
        except DodonaError as error:
            stream.remote_closed = bool(flags & END_STREAM)
            self.refuse_message(stream, error)
            return
        if flags & END_STREAM:
            self._on_end(stream)

    def _on_end(self, stream: Stream) -> None:
        stream.remote_closed = True
        try:
            self._intake.finish(stream)
        except DodonaError as error:
            self.refuse_message(stream, error)

    def _on_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(stream_id, payload)
        elif kind == frames.CONTINUATION:
            ended = self._opener.on_continuation(flags, stream_id, payload)
            if ended is not None:
                self._on_end(ended)
        else:
            self.control.read(kind, flags, stream_id, payload, self._now)

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            self._table.check_not_idle(stream_id, "WINDOW_UPDATE")
        increment = read_increment(stream_id, payload)
        if not stream_id:
            self._sender.grant(increment)
        elif (stream := self.streams.get(stream_id)) is not None:
            self._sender.grant_stream(stream, increment)

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        self._table.check_not_idle(stream_id, "RST_STREAM")
        if len(payload) != 4:
            raise RemoteError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._counters.resets_received += 1
            self.answers.close(stream)
            self._events.append(CallGone(stream))
            self._pay_for_reset()

    # Faults.

    def _fail(self, error: RemoteError) -> None:
        self.failed = True
        self._counters.failure(error.code.name)
        self._inbox.clear()
        self.unread.clear()
        if self._inbox.prefaced:
            self._sender.control(frames.goaway(self._table.last_id, error.code, str(error)))
        else:
            self._sender.control(HTTP1_ANSWER)
        # Its traceback leads back to here and to what was received: a circle that only the garbage collector breaks.
        self._events.append(ConnectionFailed(error.with_traceback(None)))

    def _reset(self, error: RemoteStreamError) -> None:
        self._counters.resets_sent += 1
        self._sender.control(frames.rst_stream(error.stream_id, error.code))
        self._table.cut_short(error.stream_id)
        stream = self.streams.get(error.stream_id)
        if stream is not None:
            self.answers.close(stream)
            self._events.append(CallGone(stream))
        self._pay_for_reset()

    def _pay_for_reset(self) -> None:
        if not self._resets.spend(self._now, self._sender.messages):
            raise RemoteError(ErrorCode.ENHANCE_YOUR_CALM, "too many calls cancelled or reset")

    def refuse_message(self, stream: Stream, error: DodonaError) -> None:
        """Answer a call whose message cannot be read; the owner says so of one it inflates itself (UnaryPacked)."""
        self._counters.refuse("message_too_large" if isinstance(error, TooLarge) else "bad_message")
        self.answers.fail(stream, error)
        if not stream.head.unary:
            self._events.append(CallGone(stream))
            self._pay_for_reset()

    # For the owner.

    def take(self) -> bytes:
        """Everything to write now."""
        sender = self._sender
        if sender.movable:
            for stream in sender.move():
                self.answers.ended(stream)
        return sender.take()

    def take_drained(self) -> list[Stream]:
        """Streams whose waiting message has gone out since this was last asked."""
        drained, self._sender.drained = self._sender.drained, []
        return drained

    @property
    def prefaced(self) -> bool:
        """Whether the peer has introduced itself."""
        return self._inbox.prefaced

    @property
    def done(self) -> bool:
        """Nothing more will come of it: close once everything is written."""
        return self.failed or (self._table.refusing and not self.streams)

    @property
    def has_more(self) -> bool:
        """Whether another `take` would give more of what is queued."""
        return self._sender.movable

    @property
    def held(self) -> bool:
        """Set by the owner while its transport's buffer is full: messages wait then, control frames do not."""
        return self._sender.held

    @held.setter
    def held(self, value: bool) -> None:
        self._sender.held = value
