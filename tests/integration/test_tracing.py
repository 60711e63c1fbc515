"""Traces of a live cluster, as a real OTLP receiver gets them."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider

from dodona import Client
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from protos import inference_pb2 as oip
from router.settings import RouterSettings
from serving.errors import DodonaError
from serving.tracing.settings import Tracing
from tests.conformance.grpc_stubs import OIP, call
from tests.integration.otlp_collector import OtlpCollector, Received
from tests.integration.up import pack_echo

PARENT = "b7ad6b7169203331"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
SLACK_NS = 200_000  # between the clocks of two processes, as each has read them
ROUTER_PARTS = {"receive": 1, "queue": 1, "link": 1}
WORKER_PARTS = {"worker": 1, "decode": 1, "batch wait": 1, "assemble": 1, "run": 1, "encode": 1}

numbers = iter(range(1, 1000))


def new_trace() -> str:
    return f"{next(numbers):032x}"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


def settings(folder: Path, tracing: Tracing, front: str = "http2") -> ClusterSettings:
    pack_echo(folder / "models", "m", "1", fail_on=13.0)
    return ClusterSettings(
        repository=str(folder / "models"),
        run_folder=str(folder / "run"),
        log_file=str(folder / "log"),
        router=RouterSettings(grpc_port=0, http_port=0, metrics_port=0, front=front, tracing=tracing),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module", params=["http2", "grpcio"])
def cluster(
    request: pytest.FixtureRequest, collector: OtlpCollector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyncCluster]:
    """Traces what callers ask to be traced, and nothing else."""
    folder = tmp_path_factory.mktemp("traces")
    tracing = Tracing(endpoint=collector.url, sample_ratio=0.0, export_interval_s=0.05)
    with running(settings(folder, tracing, request.param)) as cluster:
        cluster.ready(30)
        yield cluster


Metadata = list[tuple[str, str]]


def infer_request(value: float = 1.0, model: str = "m") -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(np.array([value, 2], "<f4").tobytes())
    return request


def by_grpc(cluster: SyncCluster, metadata: Metadata) -> None:
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        call(channel, f"{OIP}ModelInfer", infer_request(), metadata)


def by_stream(cluster: SyncCluster, metadata: Metadata) -> None:
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        stream = channel.stream_stream(
            f"{OIP}ModelStreamInfer",
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelStreamInferResponse.FromString,
        )
        (reply,) = stream(iter([infer_request()]), metadata=metadata, timeout=20)
        assert not reply.error_message


def by_rest(path: str, body: object) -> Callable[[SyncCluster, Metadata], None]:
    def ask(cluster: SyncCluster, metadata: Metadata) -> None:
        url = f"http://{cluster.http_address}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), dict(metadata))) as reply:
            assert reply.status == 200

    return ask


WAYS = {
    "inference.GRPCInferenceService/ModelInfer": by_grpc,
    "inference.GRPCInferenceService/ModelStreamInfer": by_stream,
    "POST /v2/models/{model}/infer": by_rest(
        "/v2/models/m/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    ),
    "POST /v1/models/{model}:predict": by_rest("/v1/models/m:predict", {"instances": [[1, 2]]}),
}


def whole(spans: list[Received]) -> bool:
    return len(spans) == 1 + sum(ROUTER_PARTS.values()) + sum(WORKER_PARTS.values())


@pytest.mark.parametrize("way", WAYS)
def test_one_tree_from_the_caller_to_the_model(cluster: SyncCluster, collector: OtlpCollector, way: str) -> None:
    """Over either front and REST a sampled request is one trace: the caller's span, the router's, the worker's, each
    the parent of the next, each within the times of its parent."""
    trace_id = new_trace()
    WAYS[way](cluster, [("traceparent", f"00-{trace_id}-{PARENT}-01"), ("tracestate", STATE)])
    found = collector.trace(trace_id, whole)
    spans = {one.span.name: one for one in found}
    assert Counter(one.span.name for one in found) == {way: 1, **ROUTER_PARTS, **WORKER_PARTS}
    top, link, worker = (spans[name].span for name in (way, "link", "worker"))
    parents = {one.span.name: one.span.parent_span_id for one in found}
    assert parents.pop(way).hex() == PARENT
    assert parents.pop("worker") == link.span_id
    assert {name: parents[name] for name in ROUTER_PARTS} == dict.fromkeys(ROUTER_PARTS, top.span_id)
    assert {parents[name] for name in WORKER_PARTS if name != "worker"} == {worker.span_id}
    assert (top.kind, link.kind, worker.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    by_id = {one.span.span_id: one.span for one in found}
    for one in by_id.values():
        assert one.start_time_unix_nano <= one.end_time_unix_nano
        outer = by_id.get(one.parent_span_id, one)
        assert outer.start_time_unix_nano - SLACK_NS <= one.start_time_unix_nano
        assert one.end_time_unix_nano <= outer.end_time_unix_nano + SLACK_NS
        assert one.trace_state == STATE
    assert {one.service for one in found} == {"dodona-router", "dodona-worker"}


def test_spans_say_what_was_asked(cluster: SyncCluster, collector: OtlpCollector) -> None:
    """Names follow OpenTelemetry's conventions; model, version, rows and request id find a span again."""
    trace_id = new_trace()
    by_grpc(cluster, [("traceparent", f"00-{trace_id}-{PARENT}-01"), ("x-request-id", "r-7")])
    spans = {one.span.name: one for one in collector.trace(trace_id, whole)}
    top = spans["inference.GRPCInferenceService/ModelInfer"]
    assert top.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "dodona.model": "m",
        "dodona.model.version": "1",
        "dodona.request_id": "r-7",
        "dodona.rows": 1,
    }
    assert spans["run"].attributes["dodona.batch.rows"] == 1
    assert spans["link"].attributes["dodona.worker"] == spans["run"].resource["service.instance.id"]


@pytest.mark.parametrize(
    ("request_", "error", "names"),
    [
        (infer_request(13.0), "INTERNAL", {"receive", "queue", "link", "worker", "decode", "batch wait"}),
        (infer_request(model="none"), "NOT_FOUND", set()),
    ],
    ids=["model", "refusal"],
)
def test_a_failure_is_an_error_in_its_trace(
    cluster: SyncCluster, collector: OtlpCollector, request_: oip.ModelInferRequest, error: str, names: set[str]
) -> None:
    """The spans of the router and of the worker have the status; the log names the trace."""
    trace_id = new_trace()
    with pytest.raises(grpc.RpcError), grpc.insecure_channel(cluster.grpc_address) as channel:
        call(channel, f"{OIP}ModelInfer", request_, [("traceparent", f"00-{trace_id}-{PARENT}-01")])
    top = "inference.GRPCInferenceService/ModelInfer"
    found = collector.trace(trace_id, lambda spans: {one.span.name for one in spans} >= {top, *names})
    assert {one.span.name for one in found} == {top, *names}
    for one in found:
        failed = one.span.name in (top, "worker")
        assert (one.span.status.code == one.span.status.STATUS_CODE_ERROR) == failed
        assert one.attributes.get("error.type") == (error if failed else None)


def test_what_is_not_sampled_leaves_nothing(cluster: SyncCluster, collector: OtlpCollector) -> None:
    """Neither a caller that says no, nor one that says nothing where the ratio is 0; what follows is traced again."""
    silent, last = new_trace(), new_trace()
    before = {one.span.trace_id for one in collector.until(lambda _: True)}
    for way in WAYS.values():
        way(cluster, [("traceparent", f"00-{silent}-{PARENT}-00")])
        way(cluster, [("traceparent", "00-no-trace-01")])
        way(cluster, [])
    by_grpc(cluster, [("traceparent", f"00-{last}-{PARENT}-01")])
    collector.trace(last, whole)
    after = {one.span.trace_id for one in collector.until(lambda _: True)}
    assert [one.hex() for one in after - before] == [last]


def test_our_client_joins_the_callers_trace(cluster: SyncCluster, collector: OtlpCollector) -> None:
    """In a program that uses OpenTelemetry's SDK the current span is the parent, without a line of code."""
    tracer = TracerProvider().get_tracer("test")
    with Client(f"grpc://{cluster.grpc_address}") as client, tracer.start_as_current_span("caller") as span:
        client.predict("m", {"x": np.ones((1, 2), np.float32)})
    context = span.get_span_context()
    found = collector.trace(f"{context.trace_id:032x}", whole)
    (top,) = [one for one in found if one.span.name == "inference.GRPCInferenceService/ModelInfer"]
    assert int.from_bytes(top.span.parent_span_id) == context.span_id


def test_requests_of_a_batch_are_linked(cluster: SyncCluster, collector: OtlpCollector) -> None:
    """The run of a batch names the worker spans of the other sampled requests in it."""
    ids = [new_trace() for _ in range(8)]
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        infer = channel.unary_unary(f"{OIP}ModelInfer")
        message = infer_request().SerializeToString()
        calls = [infer.future(message, 20, [("traceparent", f"00-{one}-{PARENT}-01")]) for one in ids]
        for one in calls:
            one.result()
    found = [span for one in ids for span in collector.trace(one, whole)]
    workers = {one.span.span_id: one.span.trace_id for one in found if one.span.name == "worker"}
    for one in found:
        if one.span.name == "run":
            linked = {workers[link.span_id] for link in one.span.links}
            assert len(linked) == one.attributes["dodona.batch.requests"] - 1
            assert one.span.trace_id not in linked


def test_a_collector_that_is_away_hurts_no_request(tmp_path: Path) -> None:
    """Every request is answered; what became of the spans is counted by both processes."""
    with OtlpCollector() as collector:
        gone = collector.url
    tracing = Tracing(endpoint=gone, sample_ratio=1.0, export_interval_s=0.02, max_queued_spans=40)
    with running(settings(tmp_path, tracing)) as cluster:
        cluster.ready(30)
        with Client(f"grpc://{cluster.grpc_address}") as client:
            for _ in range(100):
                assert client.predict("m", {"x": np.ones((1, 2), np.float32)}).version == "1"
            with pytest.raises(DodonaError):
                client.predict("none", {"x": np.ones((1, 2), np.float32)})
        with urllib.request.urlopen(f"http://{cluster.metrics_address}/metrics") as reply:
            text = reply.read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("dodona_spans_total"))
    assert float(figures['dodona_spans_total{outcome="exported"}']) == 0
    assert sum(map(float, figures.values())) > 300
    assert "spans cannot be exported" in (tmp_path / "log").read_text()
