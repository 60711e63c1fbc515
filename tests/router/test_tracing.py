"""Spans of requests that take every way through the dispatcher, read back with the official classes."""

from collections.abc import Sequence
from itertools import count

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from protos import link_pb2
from router.settings import Limits
from router.tracing import Tracer, grpc_origin, http_origin
from serving.errors import DodonaError
from serving.status import Status
from serving.tracing.context import Sampler, trace_id_of
from tests.router.cluster import Caller, Cluster, Worker, model, request
from tests.router.test_sharing import sharing_model

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GRPC = grpc_origin("ModelInfer")


class TracedCluster(Cluster):
    """A cluster whose finished spans a test can read. Wall-clock time is event-loop time."""

    def __init__(self, ratio: float = 0.0, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        numbers = count(1)
        sampler = Sampler(
            ratio, follow_parent=True, chance=lambda: 0.5, random_bytes=lambda size: next(numbers).to_bytes(size)
        )
        self.packed: list[bytes] = []
        self.tracer = Tracer(sampler, lambda *spans: self.packed.extend(spans), lambda: self.now, lambda: 0)
        self.frames: list[link_pb2.Work] = []

    def traced(self, traceparent: str = CALLER, state: str = "", message: bytes | None = None) -> Caller:
        """A call as the gRPC edge makes it."""
        trace = self.tracer.begin(GRPC, traceparent, (("tracestate", state),) if state else ())
        return self.call(message, trace=trace, traceparent=traceparent)

    @property
    def spans(self) -> list[Span]:
        return list(ScopeSpans.FromString(b"".join(self.packed)).spans)

    def story(self) -> str:
        """Each span with its times after the start, ms, children below their parents."""
        return "\n".join(
            f"{one.name.rpartition('/')[2]} {_ms(one.start_time_unix_nano)}-{_ms(one.end_time_unix_nano)}{_words(one)}"
            for one in self.spans
        )


def _ms(nanoseconds: int) -> int:
    return round(nanoseconds / 1e6) - 100_000


def _words(span: Span) -> str:
    texts = {one.key: one.value.string_value for one in span.attributes}
    return "".join(f" {texts[key]}" for key in ("dodona.worker", "error.type") if key in texts)


class Listening(Worker):
    """A worker that keeps the trace columns it was sent."""

    def __init__(self, cluster: TracedCluster, name: str) -> None:
        self.columns: list[tuple[Sequence[str], Sequence[str]]] = []
        super().__init__(cluster, name)

    def _receive(self, buffers: object) -> None:
        whole = b"".join(buffers)  # type: ignore[call-overload]
        envelope = link_pb2.Envelope.FromString(whole[8 : 8 + int.from_bytes(whole[4:8], "little")])
        if envelope.HasField("work"):
            self.columns.append((list(envelope.work.traceparents), list(envelope.work.tracestates)))
        super()._receive([whole])


def test_one_that_waited_and_was_answered() -> None:
    """Its time is told without a gap: accepted, waited for a replica, away at the worker."""
    cluster = TracedCluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(), window=1)
    cluster.call()
    caller = cluster.traced()
    cluster.advance(0.020)
    worker.answer(1)
    cluster.advance(0.005)
    worker.answer(2)
    assert caller.reply == b"ok"
    assert cluster.story() == "ModelInfer 0-25\nreceive 0-0\nqueue 0-20\nlink 20-25 w1"
    top, *parts = cluster.spans
    assert {one.parent_span_id for one in parts} == {top.span_id}
    assert {one.trace_id.hex() for one in cluster.spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert top.parent_span_id.hex() == "b7ad6b7169203331"
    assert top.flags == 0x301  # the parent is another process's
    assert {one.flags for one in parts} == {0x101}


def test_one_whose_replica_was_lost() -> None:
    """Each attempt has a queue and a link of its own, and each worker was told of its own link as the parent."""
    cluster = TracedCluster()
    first, second = Listening(cluster, "w1"), Listening(cluster, "w2")
    first.serve(model())
    caller = cluster.traced(state="a=b")
    cluster.advance(0.010)
    first.die()
    cluster.advance(0.001)
    second.serve(model())
    cluster.advance(0.002)
    second.answer(1)
    assert caller.reply == b"ok"
    assert cluster.story() == ("ModelInfer 0-13\nreceive 0-0\nqueue 0-0\nlink 0-10 w1\nqueue 10-11\nlink 11-13 w2")
    links = [one.span_id.hex() for one in cluster.spans if one.name == "link"]
    sent = [worker.columns[0] for worker in (first, second)]
    assert sent == [([f"00-0af7651916cd43dd8448eb211c80319c-{link}-01"], ["a=b"]) for link in links]
    assert {one.trace_state for one in cluster.spans} == {"a=b"}


def test_one_that_took_a_run_over() -> None:
    """The run began in the name of an identical request whose caller left. The heir's trace has its own attempts only;
    that of a request whose answer was kept has none."""
    cluster = TracedCluster()
    first, second = Listening(cluster, "w1"), Listening(cluster, "w2")
    first.serve(sharing_model())
    leader, heir = cluster.traced(), cluster.traced()
    assert leader.inference is not None
    cluster.core.dispatcher.cancel(leader.inference)
    cluster.packed.clear()
    cluster.advance(0.010)
    first.die()
    second.serve(sharing_model())
    cluster.advance(0.002)
    second.answer(*second.work)
    assert heir.reply == b"ok"
    assert cluster.story() == "ModelInfer 0-12\nreceive 0-0\nqueue 0-10\nlink 10-12 w2"
    cluster.call()
    second.answer(*second.work)
    cluster.packed.clear()
    assert cluster.traced().reply == b"ok"
    assert cluster.story() == "ModelInfer 12-12\nreceive 12-12"


def test_one_that_failed_at_the_worker() -> None:
    """The status is the one that the caller got."""
    cluster = TracedCluster()
    worker = Worker(cluster, "w1")
    worker.serve(model())
    cluster.traced()
    worker.refuse(1, Status.INTERNAL, "the model raised")
    assert cluster.story() == "ModelInfer 0-0 INTERNAL\nreceive 0-0\nqueue 0-0\nlink 0-0 w1"
    assert cluster.spans[0].status.message == "the model raised"


def test_one_whose_caller_went_or_whose_time_was_up() -> None:
    """Cancelled and expired requests end their spans when they end."""
    cluster = TracedCluster()
    Worker(cluster, "w1").serve(model(), window=1)
    caller = cluster.traced()
    cluster.advance(0.004)
    assert caller.inference is not None
    cluster.core.dispatcher.cancel(caller.inference)
    cluster.core.dispatcher.cancel(caller.inference)
    assert cluster.story() == "ModelInfer 0-4 CANCELLED\nreceive 0-0\nqueue 0-0\nlink 0-4 w1"
    cluster.packed.clear()
    cluster.traced()
    cluster.advance(cluster.core.settings.default_timeout_s + 1.0)
    assert cluster.story().splitlines()[0].endswith("DEADLINE_EXCEEDED")
    assert len(cluster.spans) == 3  # it never left the queue


def test_one_that_was_refused() -> None:
    """A refusal is a span of its own, with nothing below it."""
    cluster = TracedCluster(limits=Limits(max_in_flight=1))
    Worker(cluster, "w1").serve(model())
    cluster.call()
    trace = cluster.tracer.begin(http_origin("POST", "/x"), CALLER, {b"tracestate": b"a=b"})
    assert trace is not None
    with pytest.raises(DodonaError) as caught:
        cluster.call(trace=trace)
    trace.refused(caught.value)
    assert cluster.story() == "x 0-0 RESOURCE_EXHAUSTED"
    (top,) = cluster.spans
    assert {one.key: one.value.int_value for one in top.attributes}["http.response.status_code"] == 429
    assert top.trace_state == "a=b"


def test_one_that_is_not_sampled() -> None:
    """It leaves no span, and its caller's word goes on to the worker as it came."""
    cluster = TracedCluster(ratio=0.4)
    worker = Listening(cluster, "w1")
    worker.serve(model())
    unsampled = CALLER.removesuffix("01") + "00"
    cluster.traced(unsampled)
    cluster.traced("")
    worker.answer(1, 2)
    assert cluster.spans == []
    assert worker.columns == [([unsampled], []), ([], [])]


def test_one_that_begins_here() -> None:
    """Its first span has no parent; what stood in a malformed header goes nowhere."""
    cluster = TracedCluster(ratio=0.6)
    worker = Listening(cluster, "w1")
    worker.serve(model())
    cluster.traced("00-none-01", "a=b", request(rows=2))
    worker.answer(1)
    top, *_ = cluster.spans
    assert top.parent_span_id == b""
    assert top.trace_state == ""
    assert trace_id_of(worker.columns[0][0][0]) == top.trace_id.hex()
    assert worker.columns[0][1] == []


def test_a_header_past_all_measure_goes_nowhere() -> None:
    """What a frame to the worker holds beside the messages is bounded, whatever a caller sends."""
    cluster = TracedCluster()
    worker = Listening(cluster, "w1")
    worker.serve(model())
    cluster.traced(f"00-{'x' * 10_000}-00")
    assert worker.columns == [([], [])]
