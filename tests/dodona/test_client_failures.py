"""gRPC's failures as Dodona's errors."""

import pytest

from dodona.cli.exits import UNREACHABLE, told
from dodona.client.failures import Unreachable, translate
from serving.errors import (
    Cancelled,
    DeadlineExceeded,
    DodonaError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Shed,
    TooLarge,
    Unavailable,
)
from serving.status import Status

FROM_SERVER = {"x-request-id": "echoed"}


def error(code: int, details: str, metadata: dict[str, str] | None = None) -> DodonaError:
    return translate(code, details, metadata or {}, address="grpc://h:1", timeout_s=2.0, request_id="sent")


@pytest.mark.parametrize(
    ("code", "details", "metadata", "kind", "match"),
    [
        (Status.INVALID_ARGUMENT, "inputs[0]: bad", FROM_SERVER, InvalidRequest, "inputs[0]: bad"),
        (Status.NOT_FOUND, "no such model", FROM_SERVER, ModelNotFound, "no such model"),
        (Status.UNAVAILABLE, "no replica", FROM_SERVER, Unavailable, "no replica"),
        (Status.UNAVAILABLE, "failed to connect to replica", FROM_SERVER, Unavailable, "failed to connect to replica"),
        (Status.UNAVAILABLE, "failed to connect to all addresses; x", {}, Unreachable, "nothing answers at grpc://h:1"),
        (Status.UNAVAILABLE, "DNS resolution failed for h", {}, Unreachable, "nothing answers at grpc://h:1"),
        (Status.UNAVAILABLE, "Socket closed", {}, Unavailable, "the connection to grpc://h:1 was lost"),
        (Status.DEADLINE_EXCEEDED, "Deadline Exceeded", {}, DeadlineExceeded, "no answer from grpc://h:1 within 2 s"),
        (Status.DEADLINE_EXCEEDED, "expired in the queue", FROM_SERVER, DeadlineExceeded, "expired in the queue"),
        (Status.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 1)", {}, TooLarge, "max_message_bytes"),
        (Status.RESOURCE_EXHAUSTED, "queue is full", FROM_SERVER, Shed, "queue is full"),
        (Status.CANCELLED, "Channel closed!", {}, Cancelled, "client was closed"),
        (Status.UNKNOWN, "", {}, InternalError, "gRPC status 2"),
        (99, "?", {}, InternalError, "?"),
    ],
)
def test_each_failure_has_its_class_and_text(
    code: int, details: str, metadata: dict[str, str], kind: type[DodonaError], match: str
) -> None:
    """What a server said is passed on; what never reached one says what to do."""
    raised = error(code, details, metadata)
    assert type(raised) is kind
    assert match in str(raised)
    assert raised.request_id == ("echoed" if metadata else "sent")


@pytest.mark.parametrize(
    "details",
    [
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8000: Failed parsing HTTP/2 "
        "(Expected SETTINGS frame as the first frame, got frame type 79)",
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8000: connection attempt timed out "
        "before receiving SETTINGS frame",
    ],
)
def test_a_port_of_another_protocol_is_called_that(details: str) -> None:
    """The REST port asked in gRPC: the port that was meant, and the exit code of no answer."""
    raised = translate(Status.UNAVAILABLE, details, {}, address="grpc://h:8000", timeout_s=2.0, request_id="")
    assert str(raised).startswith(
        "nothing answers at grpc://h:8000 in gRPC, what listens there speaks another protocol"
    )
    assert "did you mean port 8001?" in str(raised)
    assert "8001" not in str(error(Status.UNAVAILABLE, details))
    assert told(raised)[1] == UNREACHABLE


@pytest.mark.parametrize(("text", "seconds"), [("1500", 1.5), ("-3", 0.0), ("soon", 0.0)])
def test_the_delay_of_a_shed_request(text: str, seconds: float) -> None:
    """retry-after-ms becomes seconds; nonsense counts as no delay."""
    assert error(Status.RESOURCE_EXHAUSTED, "full", {"retry-after-ms": text}).retry_after_s == seconds
