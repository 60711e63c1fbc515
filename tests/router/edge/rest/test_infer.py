import asyncio
import gzip
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from protos import link_pb2
from router.settings import RouterSettings
from serving import errors
from tests.router.edge.rest.rig import Caller, FakeWorker, Job, make_core, model, tensor, within

Body = Callable[[Caller, FakeWorker], Awaitable[None]]

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}


def served(body: Body, on_job: Callable[[Job], None] | None = Job.echo) -> None:
    """Run `body` against versions 1 and 2 of a model with one FP32 [2] input and output x; label old = 1."""

    async def run() -> None:
        core = make_core(RouterSettings())
        versions = [
            model("m", [tensor("x", "FP32", 2)], handle=handle, version=str(handle), labels={"old": "1"})
            for handle in (1, 2)
        ]
        worker = FakeWorker(core, *versions, on_job=on_job)
        await body(Caller(core), worker)

    asyncio.run(run())


def test_json_both_ways() -> None:
    """The default version answers, and says which it is."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post("/v2/models/m/infer", {"id": "7", "inputs": [X]})
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {
            "id": "7",
            "model_name": "m",
            "model_version": "2",
            "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
        }

    served(body)


@pytest.mark.parametrize(("path", "version"), [("versions/1", "1"), ("versions/2", "2"), ("versions/old", "1")])
def test_version_and_label_in_the_path(path: str, version: str) -> None:
    """An explicit version, or a label of that name."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post(f"/v2/models/m/{path}/infer", {"inputs": [X]})
        assert answer.json["model_version"] == version

    served(body)


def test_binary_both_ways() -> None:
    """Tensors behind the JSON in both directions."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
        text = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
        raw = struct.pack("<2f", 1, 2)
        answer = await caller.post("/v2/models/m/infer", text + raw, inference_header_content_length=str(len(text)))
        document, tail = answer.binary()
        assert tail == raw
        assert document["outputs"][0]["parameters"] == {"binary_data_size": 8}
        assert worker.last is not None
        assert worker.last.array().tolist() == [[1, 2]]

    served(body)


def test_body_of_a_single_raw_tensor() -> None:
    """Header 0: no JSON at all, and the reply is binary."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        raw = struct.pack("<2f", 1, 2)
        answer = await caller.post("/v2/models/m/infer", raw, inference_header_content_length="0")
        document, tail = answer.binary()
        assert (document["outputs"][0]["shape"], tail) == ([1, 2], raw)

    served(body)


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "9" * 30, ""])
def test_bad_length_of_the_json_part_is_refused(length: str) -> None:
    """Not a length, or a length beyond the body."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post("/v2/models/m/infer", b"{}", inference_header_content_length=length)
        assert answer.status == 400
        assert answer.error.startswith("inference-header-content-length: ")

    served(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_both_ways(encoding: str) -> None:
    """The length header counts plain bytes; the reply is compressed if the caller accepts it."""
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    unpack = gzip.decompress if encoding == "gzip" else zlib.decompress

    async def body(caller: Caller, worker: FakeWorker) -> None:
        entry = {"name": "x", "datatype": "FP32", "shape": [500, 2], "parameters": {"binary_data_size": 4000}}
        text = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
        answer = await caller.post(
            "/v2/models/m/infer",
            pack(text + bytes(4000)),
            inference_header_content_length=str(len(text)),
            content_encoding=encoding,
            accept_encoding=encoding,
        )
        assert answer.headers["content-encoding"] == encoding
        assert int(answer.headers["content-length"]) == len(answer.body) < 1000
        answer.body = unpack(answer.body)
        assert answer.binary()[1] == bytes(4000)

    served(body)


def test_small_replies_are_not_compressed() -> None:
    """Clients accept gzip by habit; for a row it is a loss."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post("/v2/models/m/infer", {"inputs": [X]}, accept_encoding="gzip, deflate, br")
        assert "content-encoding" not in answer.headers

    served(body)


def test_outputs_and_parameters_reach_the_worker() -> None:
    """Only what the transport means for itself is taken out."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        await caller.post(
            "/v2/models/m/infer",
            {
                "inputs": [X],
                "parameters": {"priority": 2, "mine": "v", "binary_data_output": False},
                "outputs": [{"name": "x", "parameters": {"classification": 1, "binary_data": False}}],
            },
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        assert worker.last is not None
        request = worker.last.request
        assert set(request.parameters) == {"priority", "mine"}
        assert dict(request.outputs[0].parameters).keys() == {"classification"}

    served(body)


@pytest.mark.parametrize(
    ("path", "document", "status", "message"),
    [
        ("/v2/models/nope/infer", {"inputs": [X]}, 404, "unknown model 'nope'"),
        ("/v2/models/m/versions/9/infer", {"inputs": [X]}, 404, "no version or label '9'"),
        ("/v2/models/m/infer", {}, 400, "inputs: is missing"),
        ("/v2/models/m/infer", b"{", 400, "malformed JSON at line 1"),
        ("/v2/models/m/infer", b"", 400, "body: is empty"),
        ("/v2/models/m/infer", b"\xff", 400, "invalid UTF-8"),
        ("/v2/models/m/infer", {"inputs": [X], "parameters": {"timeout": -1}}, 400, "parameters.timeout"),
        ("/v2/models/m/infer", b"[" * 100, 400, "router.limits.max_json_depth"),
        ("/v2/models/m/infer", {"inputs": [X | {"parameters": {"shared_memory_region": "r"}}]}, 400, "shared memory"),
    ],
)
def test_wrong_requests(path: str, document: object, status: int, message: str) -> None:
    """Status of the error table, text naming the part; nothing reaches the worker."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post(path, document)
        assert (answer.status, message in answer.error) == (status, True), answer.error
        assert worker.last is None

    served(body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("wrong", field="inputs[0]"), 400),
        (errors.ModelFailed("division by zero"), 500),
        (errors.DeadlineExceeded("late"), 504),
        (errors.Shed("busy", retry_after_s=3), 429),
    ],
)
def test_refusals_of_the_worker(error: errors.DodonaError, status: int) -> None:
    """The same text as over gRPC, with HTTP's code."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post("/v2/models/m/infer", {"inputs": [X]})
        assert (answer.status, answer.error) == (status, str(error))
        assert answer.headers.get("retry-after") == ("3" if status == 429 else None)

    served(body, lambda job: job.fail(error))


@pytest.mark.parametrize(
    "request_fields",
    [{"x_request_timeout_ms": "20"}, {"x_request_timeout_ms": "20.5"}, {}],
)
def test_deadline_is_kept(request_fields: dict[str, Any]) -> None:
    """By header (milliseconds) or by parameter (microseconds); no answer comes later than that."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        parameters = {} if request_fields else {"timeout": 20_000}
        answer = await within(
            caller.post("/v2/models/m/infer", {"inputs": [X], "parameters": parameters}, **request_fields)
        )
        assert answer.status == 504

    served(body, on_job=None)


@pytest.mark.parametrize("value", ["0", "-5", "soon", "nan", "inf", ""])
def test_bad_timeouts_are_refused(value: str) -> None:
    """A timeout that is no positive number is not taken for none."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        answer = await caller.post("/v2/models/m/infer", {"inputs": [X]}, x_request_timeout_ms=value)
        assert answer.status == 400
        assert answer.error.startswith("x-request-timeout-ms: ")

    served(body)


def test_the_tenant_comes_from_its_header() -> None:
    """A request that has to wait stands in the place of its tenant."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        queue = caller.core.catalogue.pool("m").queue
        worker.say(link_pb2.Envelope(credit=link_pb2.Credit(handle=2, window_rows=0)))
        answer = asyncio.ensure_future(caller.post("/v2/models/m/infer", {"inputs": [X]}, x_dodona_tenant="red"))
        while not queue:
            await asyncio.sleep(0)
        assert queue.share("blue") == 0.5
        assert queue.pending("red") == 1
        worker.say(link_pb2.Envelope(credit=link_pb2.Credit(handle=2, window_rows=1)))
        assert (await within(answer)).status == 200

    served(body)


def test_kept_answers_and_what_callers_say_about_them() -> None:
    """Cache-Status tells a hit, in every form of request; Cache-Control asks for a run; JSON and binary share answers
    where they travel alike."""

    async def run() -> None:
        core = make_core(RouterSettings())
        announced = model("m", [tensor("x", "FP32", 2)])
        announced.MergeFrom(
            link_pb2.Model(response_cache=link_pb2.ResponseCache(enabled=True), collapse=True, content="c")
        )
        FakeWorker(core, announced)
        caller = Caller(core)
        path = "/v2/models/m/infer"
        told = []
        for document, headers in (
            ({"id": "1", "inputs": [X]}, {}),
            ({"id": "2", "inputs": [X], "parameters": {"timeout": 10**6}}, {}),
            ({"id": "3", "inputs": [X], "outputs": [{"name": "x"}]}, {}),
            ({"id": "4", "inputs": [X]}, {"cache_control": "no-cache"}),
            ({"id": "5", "inputs": [X], "parameters": {"cache": False}}, {}),
            ({"id": "6", "inputs": [X], "parameters": {"binary_data_output": True}}, {}),
        ):
            answer = await caller.post(path, document, **headers)
            assert answer.status == 200
            told.append(answer.headers.get("cache-status", ""))
        assert told == ["", "dodona; hit", "", "", "", "dodona; hit"]
        wrong = await caller.post(path, {"inputs": [X], "parameters": {"cache": 1}})
        assert wrong.json == {"error": "parameters.cache: must be true or false; send bool_param"}
        rows = await caller.post("/v1/models/m:predict", {"instances": [[1, 2]]})
        assert rows.headers["cache-status"] == "dodona; hit"

    asyncio.run(run())
