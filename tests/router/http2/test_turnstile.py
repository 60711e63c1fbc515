"""Requests turned away before they become streams: which ones, with what answer, and what is read as ever."""

from random import Random

import hpack
import pytest

from router.http2 import frames
from router.http2.connection import Connection
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader, RequestHead
from router.http2.streams import UnaryArrived
from router.http2.turnstile import Bar, Bars
from serving.errors import DodonaError, Shed
from tests.router.http2.wire import METHODS, Raw, data, grpc_frame, headers, request, resets

MESSAGE = b"model-a;tensor:1234"
BEGINS = b"model-a;tensor:"


class Refusing:
    """A refusal that stands as long as the test says."""

    def __init__(self, error: DodonaError | None = None) -> None:
        self.error: DodonaError | None = error or Shed("too many", remedy="wait", retry_after_s=0.25)
        self.repeats = 0

    def refusal(self, now: float) -> DodonaError | None:
        return self.error

    def repeat(self) -> int:
        self.repeats += 1
        return self.repeats


def barred(wire: Raw) -> tuple[Bars, Refusing, RequestHead]:
    """Put up a bar for requests like MESSAGE, of which two have come; their streams stay open."""
    limits, bars = Http2Limits(), Bars()
    wire.server = Connection(HeadReader(METHODS, limits), limits, wire.counters, bars)
    wire.feed(frames.PREFACE + frames.settings({}))
    wire.server.take()
    heads = open_two(wire)
    standing = Refusing()
    bars.put_up(Bar(heads[-1], MESSAGE, BEGINS, standing, (("x-request-id", "first"),)))
    return bars, standing, heads[-1]


def open_two(wire: Raw) -> list[RequestHead]:
    """The first fills the peer's table, the second has the block that comes again."""
    events = [event for stream_id in (1, 3) for event in wire.feed(request(wire, stream_id, MESSAGE))]
    return [event.stream.head for event in events if isinstance(event, UnaryArrived)]


def fields(block: bytes) -> dict[str, str]:
    """What a header block of ours says; it uses no table, so any decoder reads it."""
    return dict(hpack.Decoder().decode(block))


def test_a_request_like_one_refused_is_turned_away_where_its_bytes_lie() -> None:
    """No event and no stream: trailers only, with the error's words, its delay, and an id of its own."""
    wire = Raw()
    _, standing, _ = barred(wire)
    assert not wire.feed(request(wire, 5, b"model-a;tensor:5678"), request(wire, 7, MESSAGE))
    sent = wire.sent()
    assert [(kind, flags, sid) for kind, flags, sid, _ in sent] == [(1, 5, 5), (1, 5, 7)]
    assert fields(sent[1][3]) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "8",
        "grpc-message": "too many; wait",
        "retry-after-ms": "250",
        "x-request-id": "first-000002",
    }
    assert standing.repeats == 2
    assert set(wire.server.streams) == {1, 3}
    assert wire.counters.streams == 4


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"model-b;tensor:1234", id="another model"),
        pytest.param(b"model-a;tensor:12345", id="another size"),
    ],
)
def test_a_request_that_is_not_alike_is_read_as_ever(other: bytes) -> None:
    """Another model or size becomes a call, also between two that are turned away."""
    wire = Raw()
    barred(wire)
    events = wire.feed(request(wire, 5, MESSAGE), request(wire, 7, other), request(wire, 9, MESSAGE))
    assert [event.message for event in events if isinstance(event, UnaryArrived)] == [other]
    assert [sid for _, _, sid, _ in wire.sent()] == [5, 9]


@pytest.mark.parametrize("replaced", [{"grpc-timeout": "9S"}, {"x-request-id": "mine"}, {":path": "/a/Other"}])
def test_another_deadline_id_or_method_is_judged_by_itself(replaced: dict[str, str]) -> None:
    """Whatever the headers say that could change the decision, or its answer, keeps a request from it."""
    wire = Raw()
    barred(wire)
    said = dict(headers()) | replaced
    streams = []
    for stream_id in (5, 7):
        block = frames.header_frames(stream_id, wire.block(list(said.items())), 0, 2**14)
        events = wire.feed(block, data(stream_id, grpc_frame(MESSAGE), frames.END_STREAM))
        streams += [event.stream.id for event in events if isinstance(event, UnaryArrived)]
    assert streams == ([] if ":path" in replaced else [5, 7])


def test_who_is_admitted_takes_the_bar_away() -> None:
    """Nothing is asked again until another request has been refused."""
    wire = Raw()
    bars, standing, _ = barred(wire)
    standing.error = None
    assert len(wire.feed(request(wire, 5, MESSAGE))) == 1
    assert not bars.by_size


def test_the_words_follow_the_decision() -> None:
    """A later decision with another delay is what later requests are told."""
    wire = Raw()
    _, standing, _ = barred(wire)
    wire.feed(request(wire, 5, MESSAGE))
    standing.error = Shed("still too many", retry_after_s=2)
    wire.feed(request(wire, 7, MESSAGE))
    said = [fields(block) for _, _, _, block in wire.sent()]
    assert [(one["grpc-message"], one["retry-after-ms"]) for one in said] == [
        ("too many; wait", "250"),
        ("still too many", "2000"),
    ]


def test_an_id_that_the_caller_sent_is_given_back_as_it_is() -> None:
    """Only what the server made up is numbered."""
    wire = Raw()
    bars, standing, head = barred(wire)
    bars.by_size.clear()
    head.metadata = (("x-request-id", "mine"),)
    bars.put_up(Bar(head, MESSAGE, BEGINS, standing, (("x-request-id", "mine"),)))
    wire.feed(request(wire, 5, MESSAGE))
    assert fields(wire.sent()[0][3])["x-request-id"] == "mine"


@pytest.mark.parametrize(
    "stream_id", [pytest.param(3, id="again"), pytest.param(6, id="even"), pytest.param(0, id="none")]
)
def test_a_stream_number_that_may_not_be_is_found_by_those_who_always_do(stream_id: int) -> None:
    """One that was used, an even one and none at all: what happens is what happens without a bar."""
    wire, plain = Raw(), Raw()
    barred(wire)
    open_two(plain)
    for one in (wire, plain):
        head = frames.header_frames(stream_id, one.block(), 0, 2**14)
        one.feed(head, data(stream_id, grpc_frame(MESSAGE), frames.END_STREAM))
    assert wire.server.failed is plain.server.failed
    assert wire.sent() == plain.sent()


def test_bytes_cut_anywhere_give_the_same_answers() -> None:
    """Requests that come in pieces are turned away or read; each is answered or becomes a call, once."""
    random = Random(7)
    for _ in range(100):
        wire = Raw()
        barred(wire)
        sent = b"".join(request(wire, 5 + 2 * number, MESSAGE) for number in range(20))
        calls: list[int] = []
        while sent:
            size = random.randrange(1, 200)
            calls += [event.stream.id for event in wire.feed(sent[:size]) if isinstance(event, UnaryArrived)]
            sent = sent[size:]
        refused = [sid for _, _, sid, _ in wire.sent()]
        assert sorted(calls + refused) == [5 + 2 * number for number in range(20)]


def test_flow_control_counts_what_was_turned_away() -> None:
    """The caller gets its window back, and a stream that is turned away is closed to further frames."""
    wire = Raw()
    barred(wire)
    limits = Http2Limits()
    number = limits.connection_window_bytes // 2 // len(grpc_frame(MESSAGE)) + 1
    wire.feed(*[request(wire, 5 + 2 * one, MESSAGE) for one in range(number)])
    assert [kind for kind, _, sid, _ in wire.sent() if not sid] == [frames.WINDOW_UPDATE]
    wire.feed(data(5, b"more"))
    assert resets(wire.sent()) == {5: 5}


def test_kinds_are_bounded() -> None:
    """However many kinds are refused, few bars stand, the latest among them; one of a kind takes the other's place."""
    bars, head = Bars(), RequestHead("/a/Unary")
    for number in range(1000):
        bars.put_up(Bar(head, b"x" * (number % 300), b"%d" % number, Refusing(), ()))
    assert sum(map(len, bars.by_size.values())) <= 64 * 8
    before = sum(map(len, bars.by_size.values()))
    bars.put_up(Bar(head, b"x" * (999 % 300), b"999", Refusing(), ()))
    assert sum(map(len, bars.by_size.values())) == before


def test_a_message_that_lies_apart_meets_the_same_bar() -> None:
    """One that was inflated, or came in pieces, is found by its bytes."""
    bars, standing = Bars(), Refusing()
    head = RequestHead("/a/Unary")
    bar = Bar(head, MESSAGE, BEGINS, standing, ())
    bars.put_up(bar)
    assert bars.find(head, b"model-a;tensor:9999", 0.0) is bar
    assert bars.find(head, b"model-b;tensor:9999", 0.0) is None
    assert bars.find(RequestHead("/a/Other"), MESSAGE, 0.0) is None
    standing.error = None
    assert bars.find(head, MESSAGE, 0.0) is None
    assert not bars.by_size
