import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.errors import ConfigurationError
from serving.metrics import Metrics
from serving.tracing.collector import Collector, headers_from
from serving.tracing.context import Context
from serving.tracing.otlp import Envelope, Kind, shape, span
from serving.tracing.outbox import Answer, Outbox
from tests.integration.otlp_collector import OtlpCollector

WAIT_S = 20.0
FORM = shape("s", Kind.INTERNAL, {})


def numbered(number: int) -> bytes:
    return span(FORM, Context(bytes(15) + b"\x01"), number.to_bytes(8), b"", number, number)


class Post:
    """A collector played by hand: answers as told, and says how many spans each body held."""

    def __init__(self, *answers: Answer) -> None:
        self.bodies: list[int] = []
        self.held = threading.Event()
        self.held.set()
        self.called = threading.Event()
        self._answers: Iterator[Answer] = iter(answers)

    def __call__(self, body: bytes) -> tuple[Answer, str]:
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(len(request.resource_spans[0].scope_spans[0].spans))
        self.called.set()
        assert self.held.wait(WAIT_S)
        return next(self._answers, Answer.TAKEN), "because"


def outbox(post: Post, max_spans: int = 100, batch_spans: int = 4, interval_s: float = 60.0) -> Outbox:
    made = Outbox(post, Envelope({}, "1"), max_spans=max_spans, interval_s=interval_s, batch_spans=batch_spans)
    made.start()
    return made


def test_a_full_batch_goes_at_once_the_rest_at_the_end() -> None:
    """The interval is for those that no full batch comes for; closing waits for what is left."""
    post = Post()
    box = outbox(post)
    box.record(*map(numbered, range(6)))
    assert post.called.wait(WAIT_S)
    box.record(numbered(6))
    box.close(WAIT_S)
    assert sum(post.bodies) == 7
    assert post.bodies[0] == 4
    assert (box.exported, box.dropped, box.lost) == (7, 0, 0)


def test_a_slow_collector_costs_spans_and_nothing_else() -> None:
    """While it does not answer the queue fills up; what comes then is counted and `record` returns all the same."""
    post = Post()
    post.held.clear()
    box = outbox(post, max_spans=8)
    box.record(*map(numbered, range(4)))
    assert post.called.wait(WAIT_S)
    for number in range(20):
        box.record(numbered(number))
    post.held.set()
    box.close(WAIT_S)
    assert (box.exported, box.dropped, box.lost) == (12, 12, 0)


@pytest.mark.parametrize(
    ("answers", "posts", "outcome"),
    [
        ([Answer.AGAIN, Answer.AGAIN, Answer.TAKEN], 3, (4, 0)),
        ([Answer.AGAIN, Answer.AGAIN, Answer.AGAIN], 3, (0, 4)),
        ([Answer.REFUSED], 1, (0, 4)),
    ],
)
def test_a_batch_is_tried_three_times(answers: list[Answer], posts: int, outcome: tuple[int, int]) -> None:
    """Where the collector may take it later; what it refuses is lost at once."""
    post = Post(*answers)
    box = outbox(post, interval_s=0.001)
    box.record(*map(numbered, range(4)))
    while box.exported + box.lost < 4:
        threading.Event().wait(0.001)
    box.close(WAIT_S)
    assert (post.bodies, (box.exported, box.lost)) == ([4] * posts, outcome)


def test_the_counts_are_a_metric() -> None:
    """By outcome."""
    box = Outbox(Post(), Envelope({}, "1"), max_spans=1, interval_s=1.0)
    family = Metrics().counter("dodona_spans", "", ("outcome",))
    box.count_in(family)
    box.record(numbered(1), numbered(2))
    assert {values: child.read() for values, child in family.children.items()} == {
        ("exported",): 0,
        ("dropped",): 2,
        ("lost",): 0,
    }


def test_a_post_arrives_with_its_headers() -> None:
    """On one connection, at the path of the specification."""
    headers = headers_from("authorization=Bearer%20x, ,=y,z")
    with OtlpCollector() as server, closing(Collector(server.url, headers=headers)) as collector:
        body = Envelope({"service.name": "s"}, "1").around([numbered(7)])
        assert collector.post(body) == (Answer.TAKEN, "")
        assert collector.post(body) == (Answer.TAKEN, "")
        assert [one.span.span_id[-1] for one in server.until(lambda spans: len(spans) == 2)] == [7, 7]
        got = {name.lower(): value for name, value in server.headers.items()}
        assert got["authorization"] == "Bearer x"
        assert got["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize(("status", "answer"), [(503, Answer.AGAIN), (429, Answer.AGAIN), (400, Answer.REFUSED)])
def test_statuses_say_whether_to_try_again(status: int, answer: Answer) -> None:
    """As the specification has it; the reason names the status."""
    with OtlpCollector() as server, closing(Collector(server.url, headers={})) as collector:
        server.status = status
        got, reason = collector.post(b"")
        assert got is answer
        assert str(status) in reason


def test_nobody_there_is_a_reason() -> None:
    """The log names the address."""
    with OtlpCollector() as server:
        url = server.url
    answer, reason = Collector(url, headers={}).post(b"")
    assert answer is Answer.AGAIN
    assert url.removeprefix("http://") in reason


@pytest.mark.parametrize("endpoint", ["http://", "http://:4318", "http://host:port"])
def test_what_is_no_address_is_an_error(endpoint: str) -> None:
    """With the setting and an example."""
    with pytest.raises(ConfigurationError, match="HOST:4318") as caught:
        Collector(endpoint, headers={})
    assert caught.value.field == "tracing.endpoint"


def test_a_certificate_that_is_not_there_is_an_error(tmp_path: object) -> None:
    """With the variable that names it."""
    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        Collector("https://localhost:4318", headers={}, certificate=f"{tmp_path}/none.pem")
    assert caught.value.field == "OTEL_EXPORTER_OTLP_CERTIFICATE"
