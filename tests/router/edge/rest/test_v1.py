import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from protos import link_pb2
from tests.router.edge.rest.rig import Caller, FakeAgent, FakeWorker, Job, make_core, model, tensor


def served(body: Callable[[Caller], Awaitable[None]], *models: link_pb2.Model, on_job: Callable[[Job], None]) -> None:
    async def run() -> None:
        core = make_core()
        FakeWorker(core, *models, on_job=on_job)
        await body(Caller(core))

    asyncio.run(run())


def predict(document: object, on_job: Callable[[Job], None], path: str = "/v1/models/m:predict") -> Any:
    """The reply of a model that takes people (age, height)."""
    answers = []

    async def body(caller: Caller) -> None:
        answers.append(await caller.post(path, document))

    people = tensor("row", "FP32", 2, columns=["age", "height"])
    served(body, model("m", [people], labels={"stable": "1"}), on_job=on_job)
    assert answers[0].status == 200, answers[0].error
    return answers[0].json


def test_one_output_gives_values() -> None:
    """A row of the output a row of the input."""
    reply = predict({"instances": [[1, 2], [3, 4]]}, Job.echo)
    assert reply == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}


@pytest.mark.parametrize("path", ["/v1/models/m/versions/1:predict", "/v1/models/m/labels/stable:predict"])
def test_versions_and_labels_have_their_own_paths(path: str) -> None:
    """As in TensorFlow Serving."""
    assert predict({"instances": [[1, 2]]}, Job.echo, path) == {"predictions": [[1.0, 2.0]]}


def test_several_outputs_give_records() -> None:
    """One record a row, texts and numbers as they are, an infinite number as a word."""

    def on_job(job: Job) -> None:
        assert job.array().tolist() == [[31, 180], [4, 99]]
        job.reply(
            label=("BYTES", np.array(["no", "yes"], object)),
            score=("FP32", np.array([[0.1, 0.9], [np.nan, np.inf]], np.float32)),
            rank=("INT64", np.array([1, 2])),
        )

    rows = [{"age": 31, "height": 180}, {"height": 99, "age": 4}]
    assert predict({"instances": rows}, on_job) == {
        "predictions": [
            {"label": "no", "score": [0.1, 0.9], "rank": 1},
            {"label": "yes", "score": [None, "Infinity"], "rank": 2},
        ]
    }


def test_columns_in_give_columns_out() -> None:
    """As TensorFlow Serving answers `inputs`: the bare tensor, or all of them by name."""
    assert predict({"inputs": {"age": [1, 3], "height": [2, 4]}}, Job.echo) == {"outputs": [[1.0, 2.0], [3.0, 4.0]]}

    def on_job(job: Job) -> None:
        job.reply(a=("INT8", np.array([1, 2], np.int8)), b=("BOOL", np.array([[True], [False]])))

    assert predict({"inputs": [[1, 2], [3, 4]]}, on_job) == {"outputs": {"a": [1, 2], "b": [[True], [False]]}}


def test_outputs_of_unequal_length_stay_columns() -> None:
    """A model without batches may answer so; no row is lost for it."""

    def on_job(job: Job) -> None:
        job.reply(a=("INT8", np.array([1, 2], np.int8)), b=("INT8", np.array(7, np.int8)))

    assert predict({"instances": [[1, 2]]}, on_job) == {"predictions": {"a": [1, 2], "b": 7}}


def test_mistakes_are_named() -> None:
    """400 with the row and the feature; unknown models 404."""

    async def body(caller: Caller) -> None:
        answer = await caller.post("/v1/models/m:predict", {"instances": [{"age": 1}]})
        assert (answer.status, answer.error.split(";")[0]) == (400, "instances[0].height: is missing")
        assert (await caller.post("/v1/models/m:predict")).status == 400
        assert (await caller.post("/v1/models/nope:predict", {"instances": [1]})).status == 404

    served(body, model("m", [tensor("row", "FP32", 2, columns=["age", "height"])]), on_job=Job.echo)


def test_status_speaks_both_dialects() -> None:
    """KServe asks for `ready`, TensorFlow Serving for the versions' states."""

    async def run() -> None:
        core = make_core()
        worker = FakeWorker(core, model("m", [tensor("x", "FP32", 1)]))
        FakeAgent(core).index(
            link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_READY),
            link_pb2.IndexEntry(name="m", version="2", state=link_pb2.STATE_FAILED, reason="bad digest"),
        )
        caller = Caller(core)
        answer = await caller.get("/v1/models/m")
        assert answer.json == {
            "name": "m",
            "ready": True,
            "model_version_status": [
                {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
                {
                    "version": "2",
                    "state": "END",
                    "status": {"error_code": "UNAVAILABLE", "error_message": "bad digest"},
                },
            ],
        }
        answer = await caller.get("/v1/models/m/versions/1")
        assert [version["version"] for version in answer.json["model_version_status"]] == ["1"]
        assert (await caller.get("/v1/models")).json == {"models": ["m"]}
        assert (await caller.get("/v1/models/nope")).status == 404
        worker.leave()
        assert (await caller.get("/v1/models/m")).status == 503

    asyncio.run(run())
