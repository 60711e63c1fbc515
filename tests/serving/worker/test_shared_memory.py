"""Tensors in shared memory on their way through a worker's predictor."""

import os
from pathlib import Path

import numpy as np
import pytest

from serving.bundle.definition import Batching
from serving.errors import InvalidRequest
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.worker.predictor import Predictor
from tests.serving.shared_memory.objects import Memory, write
from tests.serving.worker.fakes import FakeRuntime
from tests.serving.worker.requests import ROW, Array, Request, parse, request, rows

LARGE = Signature((TensorSpec("x", "FP32", (50_000,)),), (TensorSpec("y", "FP32", (2,)),))
TEXT = Signature((TensorSpec("x", "BYTES", (2,)),), (TensorSpec("y", "BYTES", (2,)),))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def predictor(signature: Signature = ROW, runtime: FakeRuntime | None = None) -> Predictor:
    return Predictor(ModelSpec("m", "1"), signature, runtime or FakeRuntime(), Batching(max_batch_rows=8))


def from_region(made: Request, region: str, place: int = 0) -> Request:
    """The same request with an input in a region; its raw contents go."""
    write(made.inputs[place].parameters, region, len(made.raw_input_contents[place]))
    del made.raw_input_contents[place]
    return made


def to_region(made: Request, region: str, size: int, offset: int = 0) -> Request:
    made.ClearField("outputs")
    write(made.outputs.add(name="y").parameters, region, size, offset)
    return made


def values(response: object) -> list[float]:
    assert isinstance(response, bytes)
    return np.frombuffer(parse(response).raw_output_contents[0], np.float32).tolist()


@pytest.mark.parametrize("signature", [ROW, LARGE])
def test_neighbours_in_shared_memory_and_on_the_wire(memory: Memory, signature: Signature) -> None:
    """They share a batch, small or large enough for the kept buffer, and each gets its own answer."""
    recipe = predictor(signature)
    width = signature.inputs[0].shape[0]
    arrays = [rows(1, width, start=10 * number) for number in range(4)]
    memory.region("r", arrays[1].tobytes())
    memory.region("s", arrays[3].tobytes())
    messages = [request({"x": array}) for array in arrays]
    from_region(messages[1], "r")
    from_region(messages[3], "s")
    requests = [recipe.decode(message.SerializeToString(), memory.regions) for message in messages]
    answers = recipe.run(requests).responses
    assert [values(answer) for answer in answers] == [(array[0, :2] * 2).tolist() for array in arrays]


def test_an_output_into_shared_memory(memory: Memory) -> None:
    """It stands in the region; the response says so, and its raw contents are empty in that place."""
    path = memory.region("out", bytes(40))
    recipe = predictor()
    made = to_region(request({"x": rows(2)}), "out", 36, 4)
    (answer,) = recipe.run([recipe.decode(made.SerializeToString(), memory.regions)]).responses
    assert isinstance(answer, bytes)
    response = parse(answer)
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2, 2])
    assert output.parameters["shared_memory_region"].string_param == "out"
    assert output.parameters["shared_memory_byte_size"].int64_param == 16
    assert output.parameters["shared_memory_offset"].int64_param == 4
    assert list(response.raw_output_contents) == [b""]
    assert path.read_bytes() == bytes(4) + (rows(2)[:, :2] * 2).tobytes() + bytes(20)


def test_what_fits_no_region_fails_alone(memory: Memory) -> None:
    """A region too small for its output costs its own caller the answer, not the neighbour in the batch."""
    memory.region("small", bytes(7))
    recipe = predictor()
    made = [to_region(request({"x": rows(1)}), "small", 7), request({"x": rows(1)})]
    refused, answered = recipe.run([recipe.decode(one.SerializeToString(), memory.regions) for one in made]).responses
    assert isinstance(refused, InvalidRequest)
    assert str(refused).startswith("outputs[0].parameters.shared_memory_byte_size: the output has 8 bytes")
    assert values(answered) == [0, 2]


def test_an_object_cut_short_between_decoding_and_running(memory: Memory) -> None:
    """The run is refused by name of the input; the process lives on and answers the next."""
    path = memory.region("r", rows(1).tobytes())
    recipe = predictor()
    message = from_region(request({"x": rows(1)}), "r").SerializeToString()
    decoded = recipe.decode(message, memory.regions)
    os.truncate(path, 0)
    with pytest.raises(InvalidRequest, match=r"inputs\[0\].*'r' was made shorter"):
        recipe.run([decoded])
    path.write_bytes(rows(1).tobytes())
    assert values(recipe.run([recipe.decode(message, memory.regions)]).responses[0]) == [0, 2]


def test_the_size_must_be_the_tensors(memory: Memory) -> None:
    """Sending the region's size instead is a common mistake, and is named."""
    memory.region("r", bytes(100))
    made = from_region(request({"x": rows(1)}), "r")
    write(made.inputs[0].parameters, "r", 100)
    with pytest.raises(InvalidRequest, match=r"byte_size: 100 bytes, but shape .* needs 12; send the size"):
        predictor().decode(made.SerializeToString(), memory.regions)


def test_one_place_for_a_tensor(memory: Memory) -> None:
    """Contents beside shared memory are refused, and raw contents are counted without the inputs that are there."""
    memory.region("r", bytes(12))
    made = from_region(request({"x": rows(1)}), "r")
    made.raw_input_contents.append(bytes(12))
    with pytest.raises(InvalidRequest, match="1 raw contents for 0 inputs and 1 in shared memory"):
        predictor().decode(made.SerializeToString(), memory.regions)
    del made.raw_input_contents[:]
    made.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    with pytest.raises(InvalidRequest, match=r"inputs\[0\].contents: typed contents and shared memory are both set"):
        predictor().decode(made.SerializeToString(), memory.regions)


def test_checked_values_are_checked(memory: Memory) -> None:
    """NaN in shared memory is refused where NaN is, and what was checked is what runs, whatever the caller writes."""
    signature = Signature((TensorSpec("x", "FP32", (3,), allow_nan=False),), ROW.outputs)
    recipe = predictor(signature)
    path = memory.region("r", np.array([[1, np.nan, 3]], "<f4").tobytes())
    message = from_region(request({"x": rows(1)}), "r").SerializeToString()
    with pytest.raises(InvalidRequest, match=r"NaN in row 0.*'x'"):
        recipe.decode(message, memory.regions)
    path.write_bytes(rows(1).tobytes())
    decoded = recipe.decode(message, memory.regions)
    path.write_bytes(np.full((1, 3), np.nan, "<f4").tobytes())
    assert values(recipe.run([decoded]).responses[0]) == [0, 2]


def test_texts(memory: Memory) -> None:
    """BYTES tensors have their raw form in a region, both ways."""
    runtime = FakeRuntime()
    runtime.then = lambda inputs: {"y": np.array([[text.upper() for text in row] for row in inputs["x"]], dtype=object)}
    array: Array = np.array([[b"a", b"bcd"]], dtype=object)
    made = request({"x": array}, datatypes={"x": "BYTES"})
    memory.region("in", made.raw_input_contents[0])
    path = memory.region("out", bytes(12))
    recipe = predictor(TEXT, runtime)
    made = to_region(from_region(made, "in"), "out", 12)
    (answer,) = recipe.run([recipe.decode(made.SerializeToString(), memory.regions)]).responses
    assert isinstance(answer, bytes)
    assert parse(answer).outputs[0].parameters["shared_memory_byte_size"].int64_param == 12
    assert path.read_bytes() == b"\x01\0\0\0A\x03\0\0\0BCD"


def test_classes(memory: Memory) -> None:
    """The best classes of an output may go to a region, too."""
    path = memory.region("out", bytes(100))
    recipe = predictor()
    made = to_region(request({"x": rows(1)}), "out", 100)
    made.outputs[0].parameters["classification"].int64_param = 1
    (answer,) = recipe.run([recipe.decode(made.SerializeToString(), memory.regions)]).responses
    assert isinstance(answer, bytes)
    assert (parse(answer).outputs[0].datatype, list(parse(answer).outputs[0].shape)) == ("BYTES", [1, 1])
    assert path.read_bytes().startswith(b"\x0a\0\0\x002.000000:1")


def test_a_front_with_a_region_is_not_remembered(memory: Memory) -> None:
    """The short cut for repeated requests must not answer into the region of an earlier one."""
    first, second = memory.region("a", bytes(8)), memory.region("b", bytes(8))
    recipe = predictor()
    for region in ("a", "b", "a"):
        made = to_region(request({"x": rows(1)}), region, 8)
        recipe.run([recipe.decode(made.SerializeToString(), memory.regions)])
    assert first.read_bytes() == second.read_bytes() == (rows(1)[:, :2] * 2).tobytes()
    memory.registry.unregister("a")
    with pytest.raises(Exception, match="no shared memory region 'a'"):
        recipe.decode(to_region(request({"x": rows(1)}), "a", 8).SerializeToString(), memory.regions)
