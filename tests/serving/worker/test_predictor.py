import numpy as np
import pytest

from serving.bundle.definition import Batching
from serving.errors import InvalidRequest, ModelFailed
from serving.runtimes.base import Arrays
from serving.runtimes.compiled.two_ways import Plan
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.worker.predictor import Predictor
from tests.serving.worker.fakes import FakeRuntime
from tests.serving.worker.requests import ROW, parse, request, rows


def predictor(runtime: FakeRuntime, signature: Signature = ROW, **batching: float) -> Predictor:
    return Predictor(ModelSpec("m", "1"), signature, runtime, Batching.model_validate(batching))


def test_requests_share_a_run_and_get_their_own_rows() -> None:
    """Decode, assemble, predict, encode: one run, an answer a request, times for each part."""
    runtime = FakeRuntime()
    recipe = predictor(runtime)
    requests = [
        recipe.decode(request({"x": rows(count, start=start)}).SerializeToString())
        for count, start in ((1, 0), (2, 10), (1, 100))
    ]
    answered = recipe.run(requests)
    values = [
        np.frombuffer(parse(response).raw_output_contents[0], np.float32).tolist() for response in answered.responses
    ]
    assert values == [[0, 2], [20, 22, 26, 28], [200, 202]]
    assert runtime.batches == [[0, 10, 13, 100]]
    assert answered.rows == 4
    assert min(answered.assemble_s, answered.infer_s, answered.encode_s) >= 0


@pytest.mark.parametrize("error", [ValueError("no good"), SystemExit("no good"), KeyError("no good")])
def test_what_a_model_raises_is_its_own_message(error: BaseException) -> None:
    """Any exception becomes ModelFailed with type and text, and without a stack trace."""
    runtime = FakeRuntime()

    def fail(inputs: Arrays) -> Arrays:
        raise error

    runtime.then = fail
    recipe = predictor(runtime)
    with pytest.raises(ModelFailed, match=f"the model raised {type(error).__name__}: .*no good") as caught:
        recipe.run([recipe.decode(request({"x": rows(1)}).SerializeToString())])
    assert caught.value.__cause__ is error
    assert "Traceback" not in str(caught.value)


def test_long_messages_are_cut() -> None:
    """A model that quotes its input back cannot flood the reply."""
    runtime = FakeRuntime()

    def fail(inputs: Arrays) -> Arrays:
        raise ValueError("x" * 100_000)

    runtime.then = fail
    with pytest.raises(ModelFailed) as caught:
        predictor(runtime).predict({"x": rows(1)})
    assert len(str(caught.value)) < 2200


def test_errors_of_ours_keep_their_status() -> None:
    """A model may say that the request was wrong."""
    runtime = FakeRuntime()

    def refuse(inputs: Arrays) -> Arrays:
        raise InvalidRequest("age is negative", field="inputs[0]")

    runtime.then = refuse
    with pytest.raises(InvalidRequest, match=r"inputs\[0\]: age is negative"):
        predictor(runtime).predict({"x": rows(1)})


def test_limits_follow_batching() -> None:
    """Without a batch a run is one request and nothing waits."""
    alone = Signature((TensorSpec("x", "FP32", (3,)),), ROW.outputs, False)
    assert (predictor(FakeRuntime(), max_batch_rows=8, max_wait_s=0.5).max_batch_rows) == 8
    recipe = predictor(FakeRuntime(), alone, max_batch_rows=8, max_wait_s=0.5)
    assert (recipe.max_batch_rows, recipe.max_wait_s, recipe.device) == (1, 0, "cpu")


def test_outputs_can_be_checked_without_a_request() -> None:
    """The warm-up asks whether outputs are as announced."""
    recipe = predictor(FakeRuntime())
    recipe.check({"y": np.ones((3, 2), np.float32)}, 3)
    with pytest.raises(ModelFailed, match="has 3 rows for 2 rows"):
        recipe.check({"y": np.ones((3, 2), np.float32)}, 2)


class Ways:
    """As of a runtime that has two: each is asked in turn."""

    def __init__(self, *names: str) -> None:
        self._names = list(names)
        self.plan = Plan("compiled", "b from 2")

    @property
    def answered_by(self) -> str:
        return self._names.pop(0)


def test_who_ran_it_is_told_to_those_who_ask() -> None:
    """Every run says who ran it; a reply says so only where the request asks, again and again, with chosen outputs or
    without."""
    runtime = FakeRuntime()
    runtime.ways = Ways("a", "b")  # type: ignore[attr-defined]
    recipe = Predictor(ModelSpec("m", "1"), ROW, runtime, Batching(), "framework")
    for name in ("a", "b"):
        requests = []
        for explain, outputs in ((True, ()), (False, ()), (True, ("y",))):
            message = request({"x": rows(1)}, outputs=outputs, request_id="7")
            if explain:
                message.parameters["explain_runtime"].bool_param = True
            requests.append(recipe.decode(message.SerializeToString()))
        answered = recipe.run(requests)
        assert answered.runtime == name
        told, plain, chosen = map(parse, answered.responses)
        assert [told.parameters["runtime"].string_param, chosen.parameters["runtime"].string_param] == [name, name]
        assert not plain.parameters
        for response in (told, chosen):
            response.ClearField("parameters")
            assert response == plain
    assert recipe.plan == Plan("compiled", "b from 2")


def test_a_runtime_with_one_way_has_its_frameworks_name() -> None:
    """The same parameter and metric for every framework."""
    recipe = Predictor(ModelSpec("m", "1"), ROW, FakeRuntime(), Batching(), "echo")
    message = request({"x": rows(1)})
    message.parameters["explain_runtime"].bool_param = True
    (response,) = recipe.run([recipe.decode(message.SerializeToString())]).responses
    assert parse(response).parameters["runtime"].string_param == "echo"
    assert recipe.plan is None


def test_close_closes_the_runtime() -> None:
    """Memory and devices are given back by the runtime."""
    runtime = FakeRuntime()
    predictor(runtime).close()
    assert runtime.closed == 1


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("copied", [False, True])
def test_large_requests_are_views_of_what_was_received(count: int, copied: bool) -> None:
    """As bytes or as a view of a frame, of one row (the short cut) or several, first or repeated, with a neighbour or
    alone: the answers are those of small ones."""
    signature = Signature((TensorSpec("x", "FP32", (50_000,)),), ROW.outputs)
    recipe = predictor(FakeRuntime(), signature)
    answers = []
    for start in (0, 7, 9):
        message = request({"x": rows(count, 50_000, start=start)}, request_id=str(start)).SerializeToString()
        decoded = recipe.decode(message if copied else memoryview(bytearray(message)))
        assert isinstance(decoded.parts[0], memoryview) or copied
        answers.append(recipe.run([decoded]).responses[0])
        answers += recipe.run([decoded, decoded]).responses
    values = [np.frombuffer(parse(answer).raw_output_contents[0], np.float32)[0] for answer in answers]
    assert values == [0, 0, 0, 14, 14, 14, 18, 18, 18]
    assert [parse(answer).id for answer in answers[::3]] == ["0", "7", "9"]


@pytest.mark.parametrize(("datatype", "bad"), [("BOOL", b"\x02"), ("FP32", np.float32("nan").tobytes())])
def test_values_of_large_requests_are_checked(datatype: str, bad: bytes) -> None:
    """A view is looked at as bytes are, in the short cut too."""
    tensor = TensorSpec("x", datatype, (300_000,), allow_nan=False)
    recipe = predictor(FakeRuntime(), Signature((tensor,), ROW.outputs))
    made = request({"x": np.zeros((1, 300_000), tensor.dtype)})
    good = made.SerializeToString()
    made.raw_input_contents[0] = made.raw_input_contents[0][: -len(bad)] + bad
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"NaN|byte 2"):
            recipe.decode(memoryview(bytearray(made.SerializeToString())))
        recipe.decode(memoryview(bytearray(good)))
