import random
from itertools import pairwise

import pytest

from router.http1.connection import READ_AHEAD, READ_OVER, Arrived, Opened, Refused, State
from serving.errors import ModelNotFound
from tests.router.http1.wire import MAX_BODY, all_of, bodies, chunked, connection, faulty, post, request

GET = request("GET /g HTTP/1.1")


def test_requests_one_after_the_other() -> None:
    """With and without a body, of either kind; between them the connection is idle."""
    http = connection()
    for data, body in [
        (GET, b""),
        (post(b"abc"), b"abc"),
        (chunked(b"ab", b"c"), b"abc"),
        (post(b""), b""),
        (GET, b""),
    ]:
        assert http.idle
        assert bodies(all_of(http, data)) == [body]
    assert http.idle
    assert not http.closes


MANY = GET + post(b"abc") + chunked(b"ab", b"c") + b"\r\n" + post(b"x" * 50) + GET


@pytest.mark.parametrize("seed", range(30))
def test_pieces_make_no_difference(seed: int) -> None:
    """The same requests, wherever the network cuts them; empty lines between two are read over."""
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(MANY)) for _ in range(chance.randrange(1, 30)))
    edges = [0, *cuts, len(MANY)]
    pieces = [MANY[start:end] for start, end in pairwise(edges) if start < end]
    assert bodies(all_of(connection(), *pieces)) == [b"", b"abc", b"abc", b"x" * 50, b""]


def test_bytes_one_at_a_time() -> None:
    """The slowest caller there is."""
    http = connection()
    assert bodies(all_of(http, *(bytes((byte,)) for byte in MANY))) == [b"", b"abc", b"abc", b"x" * 50, b""]


def test_pipelining_waits_for_its_turn() -> None:
    """The next request is not begun before the one in hand is answered."""
    http = connection()
    first = http.receive(post(b"1") + post(b"2") + GET)
    assert isinstance(first, Arrived)
    assert http.receive(post(b"4")) is None
    second = http.answered()
    assert isinstance(second, Arrived)
    assert (first.body, second.body) == (b"1", b"2")
    assert bodies(all_of(http)) == []
    third, fourth = http.answered(), http.answered()
    assert isinstance(third, Arrived)
    assert isinstance(fourth, Arrived)
    assert (third.head.method, fourth.body) == ("GET", b"4")
    assert http.answered() is None
    assert http.idle


def test_what_is_sent_ahead_is_bounded() -> None:
    """Above 64 KiB the listener is told to read no further, until it is needed."""
    http = connection()
    http.receive(GET)
    http.receive(b"x" * READ_AHEAD)
    assert not http.full
    http.receive(b"x")
    assert http.full
    http.answered()
    assert not http.full


def test_close_is_kept_to() -> None:
    """What follows a request that closes is not read."""
    http = connection()
    events = all_of(http, request("GET / HTTP/1.1", "connection: close") + GET)
    assert len(events) == 1
    assert http.closes
    assert http.state is State.OVER


def test_a_body_above_the_limit_is_read_over() -> None:
    """Declared or in chunks, in one piece or several, the next request on the connection is understood."""
    large = b"x" * (MAX_BODY + 1)
    for data in (post(large), chunked(*[large[:50_000]] * 3)):
        for step in (len(data) + len(GET), 10_000, 777):
            http = connection()
            both = data + GET
            events = all_of(http, *(both[at : at + step] for at in range(0, len(both), step)))
            arrived = [event for event in events if isinstance(event, Arrived)]
            assert [event.fault.http_status if event.fault else 200 for event in arrived] == [413, 200]
            assert http.idle


def test_a_body_of_the_limit_is_accepted() -> None:
    """The bound is inclusive."""
    assert bodies(all_of(connection(), post(b"x" * MAX_BODY))) == [b"x" * MAX_BODY]
    assert bodies(all_of(connection(), chunked(b"x" * MAX_BODY))) == [b"x" * MAX_BODY]


@pytest.mark.parametrize(
    "data",
    [
        request("POST / HTTP/1.1", f"content-length: {MAX_BODY + READ_OVER * 2}", body=b"x"),
        request("POST / HTTP/1.1", "transfer-encoding: chunked", body=b"FFFFFFFFFFFF\r\nx"),
    ],
)
def test_a_huge_body_is_not_read_over(data: bytes) -> None:
    """The answer comes at once, nothing is kept, and the connection ends behind it."""
    http = connection()
    assert faulty(http, data) == 413
    assert http.closes
    assert http.receive(b"x" * 1000) is None


def test_chunks_that_go_on_for_ever_are_given_up() -> None:
    """A caller that was told 413 and sends on and on loses the connection at the bound."""
    http = connection()
    piece = b"1ffff\r\n" + b"x" * 0x1FFFF
    assert faulty(http, request("POST / HTTP/1.1", "transfer-encoding: chunked", body=piece)) == 413
    sent = 0
    while http.state is not State.OVER:
        assert http.receive(b"\r\n" + piece) is None
        sent += 0x1FFFF
        assert sent < READ_OVER * 2
    assert sent > READ_OVER / 2


def test_nothing_of_an_unfinished_body_is_allotted_ahead() -> None:
    """A declared length costs nothing until the bytes come."""
    http = connection(max_body=1 << 40)
    event = http.receive(request("POST / HTTP/1.1", f"content-length: {1 << 39}", body=b"x"))
    assert isinstance(event, Opened)
    assert http.go_on() is None
    assert http._body.getbuffer().nbytes == 1


def test_expectations() -> None:
    """A caller that waits for 100 Continue is told of by `Opened`; one that is refused is not read on, because nobody
    knows whether its body will come."""
    waiting = request("POST / HTTP/1.1", "expect: 100-continue", "content-length: 3")
    http = connection()
    event = http.receive(waiting)
    assert isinstance(event, Opened)
    assert event.head.expects
    assert http.go_on() is None
    assert bodies(all_of(http, b"abc")) == [b"abc"]
    http = connection()
    http.receive(waiting)
    assert http.refuse(ModelNotFound("no such route")).fault is not None
    assert http.closes
    http = connection()
    assert faulty(http, request("POST / HTTP/1.1", "expect: 100-continue", f"content-length: {MAX_BODY + 1}")) == 413
    assert http.closes


def test_a_refused_request_is_read_over() -> None:
    """A wrong route need not wait for its body, and the connection lives on."""
    for data in (post(b"x" * 5000), chunked(b"x" * 5000)):
        http = connection()
        event = http.receive(data[:2000])
        assert isinstance(event, Opened)
        assert http.refuse(ModelNotFound("no such route")).fault is not None
        assert not http.closes
        assert http.receive(data[2000:3000]) is None
        assert http.skipping
        assert http.answered() is None
        assert not http.idle
        assert len(bodies(all_of(http, data[3000:] + GET))) == 1
        assert http.idle


def test_broken_chunks_behind_a_refusal_end_the_connection() -> None:
    """Before its answer has gone out and after it."""
    data = request("POST / HTTP/1.1", "transfer-encoding: chunked", body=b"3\r\nab")
    http = connection()
    http.receive(data)
    http.refuse(ModelNotFound("no such route"))
    assert isinstance(http.receive(b"c?\r\n"), Refused)
    http = connection()
    http.receive(data)
    http.refuse(ModelNotFound("no such route"))
    http.answered()
    assert isinstance(http.receive(b"c?\r\n"), Refused)
    assert http.state is State.OVER


def test_random_bytes_are_survived() -> None:
    """Whatever comes is a request, a refusal, or awaited; nothing raises, and nothing follows a refusal."""
    chance = random.Random(1)
    words = [
        GET,
        post(b"ab"),
        chunked(b"ab"),
        b"\r\n",
        b"POST / HTTP/1.1\r\n",
        b"content-length: 5\r\n",
        b"\x00",
        b"x" * 99,
    ]
    words += [b"transfer-encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\n", b"expect: 100-continue\r\n", b"\r\n\r\n", b":"]
    for _ in range(3000):
        http = connection(max_body=100)
        for _ in range(chance.randrange(1, 12)):
            events = all_of(http, chance.choice(words))
            refusals = [event for event in events if isinstance(event, Refused)]
            assert refusals == events[-1:] or not refusals
            assert http.state is not State.OVER or all_of(http, GET) == []
