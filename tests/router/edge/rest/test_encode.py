import struct
from typing import Any

import numpy as np
import orjson
import pytest

from protos import inference_pb2
from router.edge.rest.decode import Wanted
from router.edge.rest.encode import response_of
from serving.errors import InvalidRequest
from serving.tensors import to_raw


def reply(*outputs: tuple[str, str, Any], **fields: Any) -> bytes:
    """(name, datatype, array-like) each."""
    response = inference_pb2.ModelInferResponse(model_name="m", model_version="3", **fields)
    for name, datatype, values in outputs:
        array = np.asarray(values)
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(to_raw(array))
    return response.SerializeToString()


def test_json_reply_has_tritons_form() -> None:
    """Members in Triton's order, data flat, the id only if there was one."""
    response = response_of(reply(("y", "INT64", [[1, 2], [3, 4]]), id="7"), Wanted())
    assert response.body == (
        b'{"id":"7","model_name":"m","model_version":"3",'
        b'"outputs":[{"name":"y","datatype":"INT64","shape":[2,2],"data":[1,2,3,4]}]}'
    )
    assert response.headers == [(b"content-type", b"application/json")]
    assert b'"id"' not in response_of(reply(), Wanted()).body


@pytest.mark.parametrize(
    ("datatype", "values", "text"),
    [
        ("BOOL", np.array([True, False]), b"[true,false]"),
        ("UINT64", np.array([2**64 - 1], np.uint64), b"[18446744073709551615]"),
        ("INT8", np.array([-128], np.int8), b"[-128]"),
        ("FP32", np.array([0.1, np.nan], np.float32), b"[0.1,null]"),
        ("FP64", np.array([0.1, np.inf]), b'[0.1,"Infinity"]'),
        ("FP16", np.array([-np.inf, 0.5], np.float16), b'["-Infinity",0.5]'),
        ("BF16", np.array([0x3F80, 0x7FC0], np.uint16), b"[1.0,null]"),
        ("BYTES", np.array(["a", "\u00e9"], object), '["a","\u00e9"]'.encode()),
        ("FP32", np.zeros(0, np.float32), b"[]"),
    ],
)
def test_every_datatype_is_valid_json(datatype: str, values: Any, text: bytes) -> None:
    """Floats as short as they round-trip; what JSON cannot say is null or a word."""
    body = response_of(reply(("y", datatype, values)), Wanted()).body
    assert b'"data":' + text + b"}" in body
    orjson.loads(body)


def test_binary_outputs_follow_the_json() -> None:
    """The header says where they begin, each output how long it is; JSON outputs stay where they are."""
    wanted = Wanted(default=True, by_name={"b": False})
    response = response_of(
        reply(("a", "FP32", np.ones(2, "f4")), ("b", "INT8", np.ones(1, "i1")), ("c", "INT8", b"")), wanted
    )
    headers = dict(response.headers)
    size = int(headers[b"inference-header-content-length"])
    outputs = orjson.loads(response.body[:size])["outputs"]
    assert headers[b"content-type"] == b"application/octet-stream"
    assert outputs[0]["parameters"] == {"binary_data_size": 8}
    assert "data" not in outputs[0]
    assert outputs[1]["data"] == [1]
    assert response.body[size:] == struct.pack("<2f", 1, 1) + to_raw(np.asarray(b""))


def test_parameters_come_back() -> None:
    """Of the reply and of an output; the size of binary data stands beside them."""
    message = inference_pb2.ModelInferResponse.FromString(reply(("y", "INT8", np.ones(1, "i1"))))
    message.parameters["took"].double_param = 0.5
    message.outputs[0].parameters["k"].string_param = "v"
    document = orjson.loads(response_of(message.SerializeToString(), Wanted()).body)
    assert document["parameters"] == {"took": 0.5}
    assert document["outputs"][0]["parameters"] == {"k": "v"}
    response = response_of(message.SerializeToString(), Wanted(default=True))
    assert b'"parameters":{"k":"v","binary_data_size":1}' in response.body


def test_typed_contents_are_understood() -> None:
    """A worker may answer in the form that gRPC callers use by hand."""
    message = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
    message.outputs.add(name="y", datatype="FP32", shape=[2]).contents.fp32_contents.extend([1, 2])
    assert orjson.loads(response_of(message.SerializeToString(), Wanted()).body)["outputs"][0]["data"] == [1, 2]


def test_bytes_that_are_no_text_need_binary() -> None:
    """As JSON they are refused with the remedy, as binary they are fine."""
    message = reply(("y", "BYTES", np.array([b"\xff"], object)))
    with pytest.raises(InvalidRequest, match=r"outputs\[0\].data: .*binary_data: true"):
        response_of(message, Wanted())
    assert response_of(message, Wanted(default=True)).body.endswith(b"\x01\0\0\0\xff")
