from router.http2.streams import CallGone, Event, UnaryArrived
from router.http2.unread import Unread
from tests.router.http2.wire import Raw, data, grpc_frame, request


def ids(events: list[Event]) -> list[int]:
    return [event.stream.id for event in events if isinstance(event, UnaryArrived | CallGone)]


def test_reading_stops_at_as_many_events_as_are_wanted() -> None:
    """The rest is read on from the very byte, and keeps the time at which it came."""
    wire = Raw()
    bytes_of_five = b"".join(request(wire, stream_id) for stream_id in (1, 3, 5, 7, 9))
    assert ids(wire.server.receive(bytes_of_five, 1.0, 2)) == [1, 3]
    assert wire.server.unread
    assert ids(wire.server.receive(request(wire, 11), 2.0, 3)) == [5, 7, 9]
    assert ids(wire.server.read_on()) == [11]
    assert not wire.server.unread
    assert [stream.opened_at for stream in wire.server.streams.values()] == [1.0] * 5 + [2.0]


def test_a_frame_cut_in_two_waits_for_its_rest_behind_what_is_unread() -> None:
    """The order of bytes is kept whatever is read when."""
    wire = Raw()
    sent = b"".join(request(wire, stream_id) for stream_id in (1, 3, 5))
    assert ids(wire.server.receive(sent[:-4], 0.0, 1)) == [1]
    assert ids(wire.server.receive(sent[-4:], 0.0, 1)) == [3]
    assert ids(wire.server.read_on(1)) == [5]


def test_a_fault_ends_the_reading() -> None:
    """What came behind it is thrown away."""
    wire = Raw()
    wire.server.receive(request(wire, 1) + data(2, grpc_frame(b"x")) + request(wire, 3), 0.0, 1)
    wire.server.read_on()
    assert wire.server.failed
    assert not wire.server.unread
    assert not wire.server.receive(request(wire, 5), 0.0, 1)


def test_it_knows_its_size() -> None:
    """Bytes not read yet, however they were put back."""
    unread = Unread()
    unread.add(b"12345", 1.0)
    unread.add(b"678", 2.0)
    received, start, now = unread.pop()
    unread.put_back(received, start + 2, now)
    assert unread.size == 6
    assert unread.pop() == (b"12345", 2, 1.0)
    unread.clear()
    assert (unread.size, bool(unread)) == (0, False)
