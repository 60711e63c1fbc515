import asyncio
from typing import Any

import numpy as np
import pytest

from protos import link_pb2
from tests.router.edge.rest.rig import Answer, Caller, FakeWorker, Job, make_core, model, tensor


def generate(
    document: object, *, shape: tuple[int, ...] = (1,), path: str = "generate", datatype: str = "BYTES"
) -> Answer:
    """Ask a model that shouts its text back."""

    def on_job(job: Job) -> None:
        text: Any = job.array().ravel()[0]
        job.reply(text_output=("BYTES", np.array([[text.decode().upper()]], object)))

    async def run() -> Answer:
        core = make_core()
        outputs: list[link_pb2.TensorSpec] = [tensor("text_output", "BYTES", *shape)]
        FakeWorker(core, model("m", [tensor("text_input", datatype, *shape)], outputs), on_job=on_job)
        return await Caller(core).post(f"/v2/models/m/{path}", document)

    return asyncio.run(run())


@pytest.mark.parametrize("shape", [(1,), (), (-1,)])
def test_text_in_text_out(shape: tuple[int, ...]) -> None:
    """Members that are no input are parameters; the reply names model and version."""
    answer = generate({"id": "7", "text_input": "caf\u00e9", "seed": 1, "parameters": {"top_k": 2}}, shape=shape)
    assert answer.json == {"id": "7", "model_name": "m", "model_version": "1", "text_output": "CAF\u00c9"}


@pytest.mark.parametrize(
    ("document", "message"),
    [({}, "text_input: is missing"), ({"text_input": 1}, "text_input: 1 is not BYTES"), ([], "must be an object")],
)
def test_wrong_requests(document: object, message: str) -> None:
    """400, naming the input."""
    answer = generate(document)
    assert (answer.status, message in answer.error) == (400, True), answer.error


def test_models_without_text_are_refused() -> None:
    """501, naming the tensor and the route to use instead."""
    answer = generate({"text_input": "a"}, datatype="FP32")
    assert (answer.status, "text_input FP32[1]" in answer.error, "infer" in answer.error) == (501, True, True)
    assert generate({"text_input": "a"}, shape=(2,)).status == 501


def test_streams_are_refused() -> None:
    """No runtime answers in pieces yet."""
    answer = generate({"text_input": "a"}, path="generate_stream")
    assert (answer.status, "generate" in answer.error) == (501, True)
