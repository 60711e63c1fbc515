"""Between arrays and the protocol's messages."""

import numpy as np
import pytest

from dodona.client.codec import decode, encode, parse_timings, version_text
from dodona.client.inputs import Tensor, Tensors
from protos import inference_pb2
from serving.errors import InvalidRequest

EMPTY = Tensors((), positional=False)


def test_a_request_holds_everything_asked_for() -> None:
    """Names, shapes, raw bytes, wanted outputs, id, priority and parameters are all in the message."""
    tensors = Tensors((Tensor("x", "FP32", np.array([[1, 2]], np.float32)),), positional=False)
    request = encode(
        "m", "3", tensors, outputs=["y"], id="7", priority=2, parameters={"b": True, "i": -1, "f": 0.5, "s": "t"}
    )
    assert (request.model_name, request.model_version, request.id) == ("m", "3", "7")
    assert (request.inputs[0].name, list(request.inputs[0].shape)) == ("x", [1, 2])
    assert request.raw_input_contents[0] == np.array([1, 2], "<f4").tobytes()
    assert [output.name for output in request.outputs] == ["y"]
    assert request.parameters["b"].bool_param is True
    assert request.parameters["i"].int64_param == -1
    assert request.parameters["f"].double_param == 0.5
    assert request.parameters["s"].string_param == "t"
    assert request.parameters["priority"].int64_param == 2


@pytest.mark.parametrize("value", [None, [1], 2**70])
def test_a_parameter_of_another_type_is_refused(value: object) -> None:
    """Only what the protocol can carry is taken."""
    with pytest.raises(InvalidRequest, match=r"parameters\.p"):
        encode("m", "", EMPTY, parameters={"p": value})  # type: ignore[dict-item]


def test_raw_and_typed_outputs_decode_alike() -> None:
    """A server may answer in either form."""
    raw = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
    raw.outputs.add(name="y", datatype="INT64", shape=[2])
    typed = inference_pb2.ModelInferResponse.FromString(raw.SerializeToString())
    raw.raw_output_contents.append(np.array([5, 6], "<i8").tobytes())
    typed.outputs[0].contents.int64_contents.extend([5, 6])
    assert decode(raw)["y"].tolist() == decode(typed)["y"].tolist() == [5, 6]


def test_a_faulty_response_is_an_error() -> None:
    """Raw contents that do not match the outputs are never guessed at."""
    response = inference_pb2.ModelInferResponse(raw_output_contents=[b"1", b"2"])
    response.outputs.add(name="y", datatype="INT8", shape=[1])
    with pytest.raises(InvalidRequest, match="2 raw contents for 1 outputs"):
        decode(response)


def test_the_only_output_must_be_the_only_one() -> None:
    """`output` refuses to choose, and names what there is."""
    response = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
    for name in ("y", "z"):
        response.outputs.add(name=name, datatype="INT8", shape=[1])
        response.raw_output_contents.append(b"\x01")
    prediction = decode(response)
    with pytest.raises(InvalidRequest, match="take one by name: y, z"):
        _ = prediction.output
    assert (list(prediction), len(prediction)) == (["y", "z"], 2)


@pytest.mark.parametrize(
    ("text", "timings"),
    [
        ("queue;dur=250, infer;desc=x;dur=1.5", {"queue": 0.25, "infer": 0.0015}),
        ("", {}),
        ("queue;dur=soon, cache;desc=hit, ;dur=1", {}),
    ],
)
def test_server_timing_is_read_in_seconds(text: str, timings: dict[str, float]) -> None:
    """Entries without a duration are left out."""
    assert parse_timings(text) == timings


@pytest.mark.parametrize(("given", "text"), [("3", "3"), ("canary", "canary"), (3, "3"), ("", "")])
def test_a_version_is_text_or_a_whole_number(given: str | int, text: str) -> None:
    """Versions look like numbers, so a number is taken for one."""
    assert version_text(given) == text


@pytest.mark.parametrize("given", [1.1, True, None, ["3"]])
def test_what_names_no_version_is_refused(given: object) -> None:
    """1.10 would be 1.1, and None could mean anything."""
    with pytest.raises(InvalidRequest, match=r"^version: .* is no version; send text or a whole number"):
        version_text(given)  # type: ignore[arg-type]
