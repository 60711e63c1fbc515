"""Both clients against a real gRPC server on a real socket."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

from dodona import AsyncClient, Client
from serving.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidRequest,
    ModelFailed,
    ModelNotFound,
    Shed,
    TooLarge,
    Unavailable,
)
from tests.integration.oip_server import OipServer

RECORD = {"c": 3.0, "a": 1.0, "b": 2.0}


@pytest.fixture
def server() -> Iterator[OipServer]:
    with OipServer() as running:
        yield running


class Both:
    """The same call on the blocking and on the asynchronous client; both must give the same."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.options = options

    def __call__(self, name: str, *arguments: Any, **keywords: Any) -> list[Any]:
        with Client(self.url, **self.options) as client:
            blocking = getattr(client, name)(*arguments, **keywords)
        return [blocking, asyncio.run(self._awaited(name, arguments, keywords))]

    async def _awaited(self, name: str, arguments: Any, keywords: Any) -> Any:
        async with AsyncClient(self.url, **self.options) as client:
            return await getattr(client, name)(*arguments, **keywords)


FORMS = {
    "named array": {"x": np.array([[1, 2, 3]], np.float32)},
    "one array": np.array([[1.0, 2.0, 3.0]]),
    "one row as a list": [1, 2, 3],
    "record": RECORD,
    "records": [RECORD],
    "table": {name: [value] for name, value in RECORD.items()},
    "data frame": pd.DataFrame([RECORD]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_same_answer(server: OipServer, form: str) -> None:
    """Arrays, lists, records, tables and frames of the same row are answered alike, with names and version."""
    for prediction in Both(server.address)("predict", "sum", FORMS[form]):
        assert prediction.outputs["total"].tolist() == [321.0]
        assert prediction.output is prediction["total"]
        assert (prediction.model, prediction.version) == ("sum", "1")
        assert prediction.timings == {"queue": 0.002, "infer": 0.0005}
        assert prediction.elapsed_s > 0


def test_text_and_integers_travel_unchanged(server: OipServer) -> None:
    """BYTES and INT32 inputs come back as they were sent, with the dtype the model wants."""
    for prediction in Both(server.address)("predict", "pair", {"n": [1, -2], "word": ["ä", b"\x00\xff\x00"]}):
        assert prediction["n"].dtype == np.int32
        assert prediction["n"].tolist() == [1, -2]
        assert prediction["word"].tolist() == ["ä".encode(), b"\x00\xff\x00"]


def test_request_id_reaches_the_server_and_comes_back(server: OipServer) -> None:
    """A caller's request id is sent, echoed in the prediction, and used as the message's id."""
    for prediction in Both(server.address)("predict", "sum", RECORD, request_id="call-7"):
        assert (prediction.request_id, prediction.id) == ("call-7", "call-7")
    assert set(server.request_ids) == {"call-7"}


def test_metadata_is_fetched_once(server: OipServer) -> None:
    """Further predictions cost one call each."""
    with Client(server.address) as client:
        for _ in range(3):
            client.predict("sum", RECORD, version="1")
    assert server.calls == ["ModelMetadata", "ModelConfig", "ModelInfer", "ModelInfer", "ModelInfer"]


def test_a_version_may_be_a_number(server: OipServer) -> None:
    """Wherever a version is named; a fraction is refused, not rounded."""
    with Client(server.address) as client:
        assert client.predict("sum", RECORD, version=1).version == "1"
        assert client.metadata("sum", 1).name == "sum"
        assert client.ready("sum", 1)
        with pytest.raises(InvalidRequest, match=r"version: 1\.5 is no version"):
            client.predict("sum", RECORD, version=1.5)  # type: ignore[arg-type]


def test_records_follow_a_version_with_other_columns(server: OipServer) -> None:
    """When a new version arranges its columns anew, the same record is still answered rightly, without an error."""
    with Client(server.address) as client:
        assert client.predict("sum", RECORD).output.tolist() == [321.0]
        server.columns["2"] = ["c", "b", "a"]
        server.versions.append("2")
        prediction = client.predict("sum", RECORD)
    assert prediction.version == "2"
    assert prediction.output.tolist() == [321.0]


def test_records_are_right_when_the_model_changes_between_describing_and_answering(server: OipServer) -> None:
    """A description of one version and an answer of another are noticed at the very first call."""
    server.columns["2"] = ["c", "b", "a"]
    server.versions.append("2")
    server.describes = ["1", "1"]
    with Client(server.address) as client:
        prediction = client.predict("sum", RECORD)
    assert prediction.version == "2"
    assert prediction.output.tolist() == [321.0]


def test_a_refused_request_refreshes_what_is_known(server: OipServer) -> None:
    """A model that takes one column more is described afresh after INVALID_ARGUMENT; the caller sees only the rest."""
    with Client(server.address) as client:
        client.predict("sum", RECORD)
        server.columns["2"] = ["a", "b", "c", "d"]
        server.versions.append("2")
        assert client.predict("sum", {**RECORD, "d": 4.0}).output.tolist() == [4321.0]


def test_server_without_configuration_is_enough(server: OipServer) -> None:
    """A server of the protocol that has no ModelConfig still answers arrays."""
    server.with_config = False
    for prediction in Both(server.address)("predict", "sum", [[1, 2, 3], [0, 0, 1]]):
        assert prediction.output.tolist() == [321.0, 100.0]


def test_errors_carry_class_text_request_id_and_delay(server: OipServer) -> None:
    """A shed request raises Shed with the server's text, the delay of the trailer and the request id."""
    refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full", (("retry-after-ms", "250"),))
    server.refusals = [refusal]
    with Client(server.address) as client, pytest.raises(Shed, match="queue is full") as caught:
        client.predict("sum", RECORD, request_id="mine")
    assert caught.value.retry_after_s == 0.25
    assert caught.value.request_id == "mine"

    async def again() -> None:
        async with AsyncClient(server.address) as client:
            await client.predict("sum", RECORD)

    server.refusals = [refusal]
    with pytest.raises(Shed) as caught:
        asyncio.run(again())
    assert caught.value.retry_after_s == 0.25
    assert caught.value.request_id == server.request_ids[-1]


def test_unknown_model_is_not_found(server: OipServer) -> None:
    """The server's own text reaches the caller."""
    with Client(server.address) as client, pytest.raises(ModelNotFound, match="'nope' is unknown") as caught:
        client.predict("nope", [1])
    assert caught.value.request_id


def test_a_local_mistake_names_the_column_and_the_suggestion(server: OipServer) -> None:
    """A misspelt column is refused before anything is inferred."""
    with Client(server.address) as client, pytest.raises(InvalidRequest, match="did you mean 'a'") as caught:
        client.predict("sum", {"A": 1, "b": 2, "c": 3})
    assert caught.value.request_id
    assert "ModelInfer" not in server.calls


def test_retries_happen_only_when_asked_for(server: OipServer) -> None:
    """UNAVAILABLE is raised at once by default, and tried again within the deadline where retries are allowed."""
    away = (grpc.StatusCode.UNAVAILABLE, "no replica", ())
    server.refusals = [away]
    with Client(server.address) as client, pytest.raises(Unavailable, match="no replica"):
        client.predict("sum", RECORD)
    server.refusals = [away, away]
    for prediction in Both(server.address, retries=2)("predict", "sum", RECORD):
        assert prediction.output.tolist() == [321.0]
    server.refusals = [away]
    with Client(server.address, retries=5) as client, pytest.raises(Unavailable, match="no replica"):
        client.predict("sum", RECORD, timeout_s=0.05)


def test_deadline_is_kept(server: OipServer) -> None:
    """A call that is not answered in time raises DeadlineExceeded naming the time, and the server is told."""
    with Client(server.address) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
        client.predict("slow", [1, 2, 3], timeout_s=0.2)
    assert server.slow_cancelled.wait(5)


def test_cancelling_a_task_cancels_the_call(server: OipServer) -> None:
    """An abandoned asynchronous call is cancelled on the server; the client goes on working."""

    async def run() -> list[float]:
        async with AsyncClient(server.address) as client:
            task = asyncio.create_task(client.predict("slow", [1, 2, 3]))
            await asyncio.to_thread(server.slow_started.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.slow_cancelled.wait, 5)
            return (await client.predict("sum", RECORD)).output.tolist()  # type: ignore[no-any-return]

    assert asyncio.run(run()) == [321.0]


def test_nothing_listening_says_what_to_type() -> None:
    """The error names the address and the command that starts a cluster."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with Client(f"127.0.0.1:{port}") as client:
            with pytest.raises(Unavailable, match=rf"grpc://127.0.0.1:{port}.*dodona up") as caught:
                client.predict("sum", RECORD)
            assert caught.value.request_id
            assert not client.live()
            assert not client.ready()


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """grpcs:// with an authority and a client certificate works; without them nothing is sent."""
    key, certificate = tmp_path / "key.pem", tmp_path / "chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with OipServer((key.read_bytes(), certificate.read_bytes())) as server:
        for live in Both(server.address, ca=certificate, certificate=certificate, key=key)("live"):
            assert live
        with Client(server.address, ca=certificate) as anonymous, pytest.raises(Unavailable, match="grpcs://localhost"):
            anonymous.predict("sum", RECORD)
        with Client(server.address) as distrustful, pytest.raises(Unavailable, match="grpcs://localhost"):
            distrustful.predict("sum", RECORD)
        assert "ModelInfer" not in server.calls


def test_a_message_over_the_limit_names_the_limit(server: OipServer) -> None:
    """What is too large for this client raises TooLarge, on the way out and on the way back."""
    many = [[1, 2, 3]] * 1000
    with (
        Client(server.address, max_message_bytes=2000) as client,
        pytest.raises(TooLarge, match="max_message_bytes"),
    ):
        client.predict("sum", many)


def test_close_ends_calls_in_progress(server: OipServer) -> None:
    """A call that runs while its client is closed ends as Cancelled; later calls say that the client is closed."""
    client = Client(server.address)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            client.predict("slow", [1, 2, 3])
        except Cancelled as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert server.slow_started.wait(5)
    client.close()
    client.close()
    thread.join(5)
    assert "closed" in str(failures[0])
    with pytest.raises(RuntimeError, match="closed"):
        client.live()


def test_predict_many_keeps_order(server: OipServer) -> None:
    """Answers come in the order of the inputs, and inputs are read only as far as answers are taken."""
    read: list[int] = []

    def endless() -> Iterator[list[int]]:
        for number in range(1_000_000):
            read.append(number)
            yield [number, 0, 0]

    with Client(server.address) as client:
        answers = client.predict_many("sum", endless(), in_flight=4)
        first = [next(answers).output.tolist() for _ in range(20)]
        answers.close()  # type: ignore[attr-defined]
    assert first == [[float(number)] for number in range(20)]
    assert len(read) <= 24

    async def run() -> list[list[float]]:
        async with AsyncClient(server.address) as client:
            batches = ([number, 0, 0] for number in range(20))
            return [answer.output.tolist() async for answer in client.predict_many("sum", batches, in_flight=4)]

    assert asyncio.run(run()) == first


def test_predict_many_can_return_errors_in_place(server: OipServer) -> None:
    """With return_errors a bad element costs only its own answer; without, it is raised."""
    batches: list[Any] = [[1, 0, 0], {"q": 1}, [2, 0, 0]]
    with Client(server.address) as client:
        good, bad, last = client.predict_many("sum", batches, return_errors=True)
        assert isinstance(bad, InvalidRequest)
        assert [good.output.tolist(), last.output.tolist()] == [[1.0], [2.0]]  # type: ignore[union-attr]
        with pytest.raises(InvalidRequest):
            list(client.predict_many("sum", batches))

    async def run() -> list[Any]:
        async with AsyncClient(server.address) as client:
            with pytest.raises(InvalidRequest):
                [answer async for answer in client.predict_many("sum", batches)]
            return [answer async for answer in client.predict_many("sum", batches, return_errors=True)]

    assert [type(answer).__name__ for answer in asyncio.run(run())] == ["Prediction", "InvalidRequest", "Prediction"]


def test_stream_answers_every_element(server: OipServer) -> None:
    """A stream answers each element in turn, with the element's position as id."""
    rows = [[number, 0, 0] for number in range(5)]
    expected = [(str(number), [float(number)]) for number in range(5)]
    with Client(server.address) as client:
        assert [(answer.id, answer.output.tolist()) for answer in client.stream("sum", rows)] == expected

    async def run() -> list[Any]:
        async with AsyncClient(server.address) as client:
            return [(answer.id, answer.output.tolist()) async for answer in client.stream("sum", rows)]

    assert asyncio.run(run()) == expected


def test_stream_raises_what_went_wrong(server: OipServer) -> None:
    """An element that cannot be encoded and one the server fails both raise, after the answers before them."""
    with Client(server.address) as client:
        answers = client.stream("sum", [[1, 0, 0], {"q": 1}])
        assert next(answers).output.tolist() == [1.0]
        with pytest.raises(InvalidRequest, match="'q'"):
            next(answers)
        with pytest.raises(ModelFailed, match="this one failed"):
            next(client.stream("sum", [[1, 0, 0]], parameters={"fail": True}))
        with pytest.raises(InvalidRequest, match="does not fit"):
            list(client.stream("sum", [[[1, 0]]]))

    async def run() -> None:
        async with AsyncClient(server.address) as client:
            with pytest.raises(InvalidRequest, match="'q'"):
                [answer async for answer in client.stream("sum", [[1, 0, 0], {"q": 1}])]

    asyncio.run(run())


def test_stream_notices_a_model_that_changes_its_columns(server: OipServer) -> None:
    """Records already on their way in the old arrangement are not answered as if they were right."""
    server.columns["2"] = ["c", "b", "a"]
    server.versions.append("2")
    server.describes = ["1", "1"]
    with Client(server.address) as client, pytest.raises(Unavailable, match="start the stream again"):
        list(client.stream("sum", [RECORD]))


def test_the_other_calls(server: OipServer) -> None:
    """Live, ready, metadata, config, models, statistics, status, load and unload give typed answers on both clients."""
    both = Both(server.address)
    assert both("live") == [True, True]
    assert both("ready") == [True, True]
    assert both("ready", "sum") == [True, True]
    assert both("ready", "nope") == [False, False]
    for description in both("metadata", "sum"):
        assert description.inputs[0].columns == ("a", "b", "c")
        assert description.outputs[0].labels == ("low", "high")
        assert str(description.inputs[0]) == "x FP32[3]"
    assert [config.max_batch_size for config in both("config", "sum")] == [8, 8]
    for entries in both("models"):
        assert [(entry.name, entry.ready, entry.reason) for entry in entries] == [
            ("sum", True, ""),
            ("broken", False, "model.yaml: unknown key"),
        ]
    assert [len(entries) for entries in both("models", ready_only=True)] == [1, 1]
    assert [entries[0].inference_count for entries in both("statistics", "sum")] == [5, 5]
    assert [status.pending for status in both("status")] == [3, 3]
    assert both("load", "sum") == [None, None]
    assert both("unload", "sum") == [None, None]
    with pytest.raises(ModelNotFound, match="not in the repository"):
        both("load", "nope")
