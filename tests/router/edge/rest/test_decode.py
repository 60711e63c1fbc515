import struct
from typing import Any

import numpy as np
import orjson
import pytest

from protos import inference_pb2
from router.edge.rest.decode import Wanted, message_of, raw_message_of
from serving.errors import DodonaError, InvalidRequest, TooLarge
from serving.spec import NUMPY_DTYPES, Signature, TensorSpec


def decode(
    document: object, tail: bytes = b"", max_bytes: int = 10_000
) -> tuple[inference_pb2.ModelInferRequest, Wanted]:
    """The request as a worker would parse it. A tail makes it a binary request."""
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    size = len(text) if tail else None
    message, wanted = message_of(text + tail, size, "m", "2", max_depth=8, max_bytes=max_bytes)
    return inference_pb2.ModelInferRequest.FromString(message), wanted


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]} | fields


def test_json_request_becomes_protobuf() -> None:
    """Everything that a worker sees of a request, in the form gRPC has."""
    request, wanted = decode(
        {
            "id": "7",
            "parameters": {"priority": 1, "note": "n"},
            "inputs": [tensor(parameters={"k": 0.5}), tensor(name="y", datatype="BYTES", data=[["a", "bc"]])],
            "outputs": [{"name": "o", "parameters": {"classification": 3}}],
        }
    )
    assert (request.model_name, request.model_version, request.id) == ("m", "2", "7")
    assert request.parameters["priority"].int64_param == 1
    assert request.parameters["note"].string_param == "n"
    assert [(head.name, head.datatype, list(head.shape)) for head in request.inputs] == [
        ("x", "FP32", [1, 2]),
        ("y", "BYTES", [1, 2]),
    ]
    assert request.inputs[0].parameters["k"].double_param == 0.5
    assert list(request.raw_input_contents) == [struct.pack("<2f", 1, 2), b"\x01\0\0\0a\x02\0\0\0bc"]
    assert request.outputs[0].name == "o"
    assert request.outputs[0].parameters["classification"].int64_param == 3
    assert not wanted.binary("o")


@pytest.mark.parametrize("datatype", [name for name in NUMPY_DTYPES if name not in ("BYTES", "BF16")])
def test_every_datatype_arrives_in_its_bytes(datatype: str) -> None:
    """Raw little-endian, one element after another."""
    values = [True, False] if datatype == "BOOL" else [1, 2]
    request, _ = decode({"inputs": [tensor(datatype=datatype, data=values)]})
    assert np.frombuffer(request.raw_input_contents[0], NUMPY_DTYPES[datatype]).tolist() == values


def test_binary_tensors_follow_in_the_order_of_inputs() -> None:
    """JSON and binary inputs may be mixed; the parameters of the transport stay at the edge."""
    request, wanted = decode(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {"name": "a", "datatype": "INT8", "shape": [3], "parameters": {"binary_data_size": 3}},
                tensor(),
                {"name": "b", "datatype": "UINT8", "shape": [200], "parameters": {"binary_data_size": 200}},
                {"name": "c", "datatype": "UINT8", "shape": [0], "parameters": {"binary_data_size": 0}},
            ],
            "outputs": [{"name": "o", "parameters": {"binary_data": False}}, {"name": "p"}],
        },
        b"abc" + bytes(200),
    )
    assert list(request.raw_input_contents) == [b"abc", struct.pack("<2f", 1, 2), bytes(200), b""]
    assert not request.parameters
    assert not request.inputs[0].parameters
    assert not request.outputs[0].parameters
    assert (wanted.binary("o"), wanted.binary("p"), wanted.binary("q")) == (False, True, True)


def test_null_is_absent() -> None:
    """KServe's client writes null for what it leaves out."""
    request, wanted = decode(
        {"id": None, "parameters": None, "outputs": None, "inputs": [tensor(parameters=None), tensor(name="y")]}
    )
    assert len(request.inputs) == 2
    assert not wanted.default


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "body: must be a JSON object"),
        ({}, "inputs: is missing"),
        ({"input": []}, "did you mean it by 'input'"),
        ({"inputs": {}}, "inputs: must be a list"),
        ({"inputs": [1]}, r"inputs\[0\]: must be an object"),
        ({"inputs": [tensor(name="")]}, r"inputs\[0\].name: "),
        ({"inputs": [tensor(name=1)]}, r"inputs\[0\].name: "),
        ({"inputs": [tensor(), tensor()]}, r"inputs\[1\].name: input 'x' is sent twice"),
        ({"inputs": [tensor(datatype="FP8")]}, r"inputs\[0\].datatype: unknown datatype 'FP8'; use one of BOOL"),
        ({"inputs": [{"name": "x"}]}, r"inputs\[0\].datatype: is missing"),
        ({"inputs": [tensor(shape=None)]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(shape=[1, -2])]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(shape=[True, 2])]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(shape=[1.0, 2])]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(shape=[2**63])]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(shape=[1] * 33)]}, r"inputs\[0\].shape: "),
        ({"inputs": [tensor(data=[1, 2, 3])]}, r"inputs\[0\].data: has 3 elements"),
        ({"inputs": [tensor(), tensor(name="y", data=[1, "a"])]}, r"inputs\[1\].data\[1\]: 'a' is not FP32"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, r"inputs\[0\].data: is missing"),
        ({"inputs": [tensor(parameters=[])]}, r"inputs\[0\].parameters: must be an object"),
        ({"inputs": [tensor(parameters={"a": None})]}, r"inputs\[0\].parameters.a: "),
        ({"inputs": [tensor(parameters={"binary_data_size": 8})]}, "excludes data"),
        ({"inputs": [tensor(data=None, parameters={"binary_data_size": "8"})]}, "must be an integer"),
        ({"inputs": [tensor(data=None, parameters={"binary_data_size": -1})]}, "must be an integer"),
        ({"inputs": [tensor(data=None, parameters={"binary_data_size": 8})]}, "is 8, but 0 bytes of binary data"),
        ({"inputs": [tensor()], "id": 7}, "id: must be a string"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"inputs": [tensor()], "outputs": {}}, "outputs: must be a list"),
        ({"inputs": [tensor()], "outputs": [{}]}, r"outputs\[0\].name: "),
        ({"inputs": [tensor()], "outputs": [{"name": "o"}, {"name": "o"}]}, r"outputs\[1\].name: 'o' is there twice"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "o", "parameters": {"binary_data": 1}}]},
            r"outputs\[0\].parameters.binary_data: must be true or false",
        ),
        (b"[" * 9 + b"]" * 9, "max_json_depth"),
    ],
)
def test_wrong_requests_name_the_part(document: object, message: str) -> None:
    """The field as a path into the document, so that a person finds it."""
    with pytest.raises(InvalidRequest, match=message):
        decode(document)


def test_binary_part_must_be_used_up() -> None:
    """Bytes that belong to no tensor are a mistake in some length."""
    entry = tensor(data=None, parameters={"binary_data_size": 8})
    with pytest.raises(InvalidRequest, match="body: 2 bytes follow the last tensor"):
        decode({"inputs": [entry]}, bytes(10))
    with pytest.raises(InvalidRequest, match="is 8, but 7 bytes"):
        decode({"inputs": [entry]}, bytes(7))
    with pytest.raises(InvalidRequest, match="inference-header-content-length: is 3, but the body has 2 bytes"):
        message_of(b"{}", 3, "m", "", max_depth=8, max_bytes=100)


def test_shared_memory_travels_as_parameters() -> None:
    """The worker finds the tensor; here it is neither data nor bytes, and the others keep their places."""
    shared = {"shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": 4}
    inputs = [tensor(name="a", data=None, parameters=shared), tensor(name="b")]
    del inputs[0]["data"]
    request, _ = decode({"inputs": inputs, "outputs": [{"name": "o", "parameters": shared | {"binary_data": False}}]})
    assert request.inputs[0].parameters["shared_memory_region"].string_param == "r"
    assert request.inputs[0].parameters["shared_memory_offset"].int64_param == 4
    assert request.outputs[0].parameters["shared_memory_byte_size"].int64_param == 8
    assert "binary_data" not in request.outputs[0].parameters
    assert len(request.raw_input_contents) == 1


@pytest.mark.parametrize("size", [None, 8])
def test_data_and_shared_memory_exclude_each_other(size: int | None) -> None:
    """Nobody can tell which of the two was meant."""
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    entry = tensor(parameters=parameters if size is None else parameters | {"binary_data_size": size})
    if size is not None:
        del entry["data"]
    with pytest.raises(InvalidRequest, match=r"inputs\[0\]\..*: data and shared memory"):
        decode({"inputs": [entry]}, bytes(size or 0))


def test_tensors_larger_than_their_text_are_limited() -> None:
    """[0,0,...] takes two bytes an element in JSON and eight in FP64."""
    document = {"inputs": [tensor(datatype="FP64", shape=[100], data=[0] * 100)]}
    decode(document, max_bytes=1000)
    with pytest.raises(TooLarge, match=r"router\.limits\.max_message_bytes = 500"):
        decode(document, max_bytes=500)


def raw(body: bytes, *inputs: TensorSpec, batched: bool = True) -> inference_pb2.ModelInferRequest:
    message, wanted = raw_message_of(body, Signature(inputs, (), batched), "m", "", max_bytes=1000)
    assert wanted.default
    return inference_pb2.ModelInferRequest.FromString(message)


@pytest.mark.parametrize(
    ("spec", "batched", "body", "shape"),
    [
        (TensorSpec("x", "FP32", (2,)), True, bytes(8), [1, 2]),
        (TensorSpec("x", "FP32", (2,)), False, bytes(8), [2]),
        (TensorSpec("x", "UINT8", (-1,)), True, bytes(5), [1, 5]),
        (TensorSpec("x", "INT16", (3, -1)), True, bytes(12), [1, 3, 2]),
        (TensorSpec("x", "BYTES", (1,)), True, b"jpeg", [1, 1]),
        (TensorSpec("x", "BYTES", (-1,)), True, b"jpeg", [1, 1]),
    ],
)
def test_raw_body_is_the_single_input(spec: TensorSpec, batched: bool, body: bytes, shape: list[int]) -> None:
    """One row; a single unknown extent follows from the length; BYTES are one element."""
    request = raw(body, spec, batched=batched)
    assert list(request.inputs[0].shape) == shape
    assert request.raw_input_contents[0] == (b"\x04\0\0\0jpeg" if spec.datatype == "BYTES" else body)


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (TensorSpec("x", "FP32", (1,)), TensorSpec("y", "FP32", (1,))),
        (TensorSpec("x", "FP32", (-1, -1)),),
        (TensorSpec("x", "FP32", (3, -1)),),
    ],
)
def test_raw_body_without_a_clear_shape_is_refused(inputs: tuple[TensorSpec, ...]) -> None:
    """Several inputs, several unknown extents, or a length that does not divide."""
    with pytest.raises(DodonaError, match="JSON part"):
        raw(bytes(16), *inputs)
