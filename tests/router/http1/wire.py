"""A connection without a socket, and what a test says to it."""

from router.http1.connection import Arrived, Connection, Event, Refused
from router.http1.heads import HeadReader

MAX_HEAD = 1000
MAX_BODY = 100_000


def connection(max_head: int = MAX_HEAD, max_body: int = MAX_BODY) -> Connection:
    return Connection(HeadReader(max_head), max_head, max_body)


def request(*lines: str, body: bytes = b"") -> bytes:
    """Head lines and a body."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(body: bytes, *lines: str) -> bytes:
    return request("POST /p HTTP/1.1", f"content-length: {len(body)}", *lines, body=body)


def chunked(*pieces: bytes) -> bytes:
    """A request whose body comes in these pieces."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST /p HTTP/1.1", "transfer-encoding: chunked", body=body + b"0\r\n\r\n")


def all_of(http: Connection, *pieces: bytes) -> list[Event]:
    """Every event of what was sent, each request answered as soon as it has arrived."""
    events: list[Event] = []
    for piece in pieces:
        event = http.receive(piece)
        while event is not None:
            events.append(event)
            if isinstance(event, Refused):
                break
            event = http.answered() if isinstance(event, Arrived) else http.go_on()
    return events


def bodies(events: list[Event]) -> list[bytes]:
    return [event.body for event in events if isinstance(event, Arrived)]


def refused(http: Connection, data: bytes) -> tuple[int, str]:
    """Status and text of what must be a refusal that ends the connection."""
    event = all_of(http, data)[-1]
    assert isinstance(event, Refused), event
    assert http.closes
    assert http.receive(b"GET / HTTP/1.1\r\n\r\n") is None
    return event.error.http_status, str(event.error)


def faulty(http: Connection, data: bytes) -> int:
    """Status of a request that is answered with a fault."""
    event = next(event for event in all_of(http, data) if isinstance(event, Arrived))
    assert event.fault is not None
    return event.fault.http_status
