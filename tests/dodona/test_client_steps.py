"""What a call does, step by step, with no network: the test plays the server."""

import numpy as np
import pytest

from dodona.client import methods, steps
from dodona.client.description import Description
from dodona.client.steps import Descriptions, Pause, Question, Reply, Rpc, Steps, pause_before
from protos import inference_pb2
from serving.errors import DodonaError, InvalidRequest, ModelNotFound, Shed, Unavailable
from serving.spec import Signature, TensorSpec

MODEL = Description("m", ("1",), "test", Signature((TensorSpec("x", "FP32", (1,)),), ()))


class Played:
    """Runs steps up to their end; `answers` are sent or thrown in turn, `taken` is what was asked."""

    def __init__(self, asked: Steps[object], *answers: inference_pb2.ModelInferResponse | DodonaError) -> None:
        self.taken: list[Rpc | Pause] = []
        self.result: object = None
        queue = list(answers)
        try:
            step = next(asked)
            while True:
                self.taken.append(step)
                if isinstance(step, Pause):
                    step = asked.send(None)
                    continue
                answer = queue.pop(0)
                step = asked.throw(answer) if isinstance(answer, DodonaError) else asked.send(Reply(answer))
        except StopIteration as done:
            self.result = done.value

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.taken if isinstance(step, Pause)]


def known() -> Descriptions:
    descriptions = Descriptions()
    descriptions.put("m", "1", MODEL)
    return descriptions


def infer(*answers: inference_pb2.ModelInferResponse | DodonaError, retries: int = 0) -> Played:
    asked = steps.predict(Question("m", {"x": [1]}, "1"), known(), retries=retries, random=lambda: 0.0)
    return Played(asked, *answers)


DONE = inference_pb2.ModelInferResponse(model_name="m", model_version="1")


def test_a_known_model_is_one_call() -> None:
    """Nothing is asked but the inference itself."""
    played = infer(DONE)
    assert [step.method for step in played.taken if isinstance(step, Rpc)] == [methods.MODEL_INFER]


def test_retries_pause_longer_each_time() -> None:
    """UNAVAILABLE is tried again after 0.1 s, 0.2 s, 0.4 s."""
    played = infer(Unavailable("away"), Unavailable("away"), Unavailable("away"), DONE, retries=3)
    assert played.pauses == [0.1, 0.2, 0.4]


def test_a_shed_request_waits_as_long_as_it_was_told() -> None:
    """The server's delay counts where it is longer; without one there is no retry."""
    assert infer(Shed("full", retry_after_s=2.0), DONE, retries=1).pauses == [2.0]
    with pytest.raises(Shed):
        infer(Shed("too large"), retries=1)


def test_retries_run_out() -> None:
    """The last error is raised."""
    with pytest.raises(Unavailable, match="second"):
        infer(Unavailable("first"), Unavailable("second"), retries=1)


def test_pauses_are_bounded_and_spread() -> None:
    """Never above 7.5 s unless the server asks for more."""
    assert pause_before(40, 0.0, 1.0) == 7.5
    assert pause_before(0, 9.0, 0.0) == 9.0


def test_an_error_that_stays_is_raised_after_one_refresh() -> None:
    """INVALID_ARGUMENT leads to one new description; if that is the same, the error stands."""
    metadata = inference_pb2.ModelMetadataResponse(name="m", versions=["1"], platform="test")
    metadata.inputs.add(name="x", datatype="FP32", shape=[-1, 1])
    config = inference_pb2.ModelConfigResponse()
    config.config.max_batch_size = 4
    with pytest.raises(InvalidRequest, match="no"):
        infer(InvalidRequest("no"), metadata, config)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound, match="gone"):
        infer(ModelNotFound("unknown version"), ModelNotFound("gone"))


def test_descriptions_are_bounded() -> None:
    """The oldest is forgotten first."""
    descriptions = Descriptions()
    for number in range(steps.MAX_DESCRIPTIONS + 1):
        descriptions.put(f"m{number}", "", MODEL)
    assert descriptions.get("m0", "") is None
    assert descriptions.get(f"m{steps.MAX_DESCRIPTIONS}", "") is MODEL
    descriptions.forget("m1", "")
    assert descriptions.get("m1", "") is None


def test_a_changed_batching_counts_as_a_change() -> None:
    """The same tensors with and without a batch dimension are different inputs."""
    unbatched = Description("m", ("2",), "test", Signature(MODEL.inputs, (), batched=False))
    descriptions = known()
    descriptions.put("m", "2", unbatched)
    asked = steps.confirmed(Question("m", np.zeros(1)), MODEL, "2", descriptions)
    with pytest.raises(StopIteration) as done:
        next(asked)
    assert done.value.value is unbatched
