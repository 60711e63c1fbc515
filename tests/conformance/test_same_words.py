"""One error table, two protocols: the same fault gets the same words over gRPC and REST, on both fronts, and the next
request on the same connection works."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from protos import inference_pb2 as oip
from router.settings import Limits, RouterSettings
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.status import HTTP_STATUS, Status
from tests.conformance.grpc_stubs import OIP, call, refusal

Change = Callable[[oip.ModelInferRequest], object]


@pytest.fixture(scope="module", params=["http2", "grpcio"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncCluster]:
    folder = tmp_path_factory.mktemp("words")
    inputs = (
        TensorDefinition(name="x", datatype="FP32", shape=(2,), allow_nan=False),
        TensorDefinition(name="n", datatype="INT64", shape=(1,)),
    )
    pack(None, framework="echo", name="m", repository=folder / "models", inputs=inputs, max_batch_rows=8)
    settings = ClusterSettings(
        repository=str(folder / "models"),
        run_folder=str(folder / "run"),
        log_file=str(folder / "log"),
        router=RouterSettings(
            grpc_port=0,
            http_port=0,
            metrics_port=0,
            front=request.param,
            limits=Limits(max_message_bytes=100_000),
        ),
    )
    with running(settings) as cluster:
        cluster.ready(30)
        yield cluster


def good() -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="m")
    for name, datatype, array in (("x", "FP32", np.ones((2, 2), "<f4")), ("n", "INT64", np.ones((2, 1), "<i8"))):
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def _name(request: oip.ModelInferRequest) -> None:
    request.inputs[0].name = "y"


def _missing(request: oip.ModelInferRequest) -> None:
    del request.inputs[1], request.raw_input_contents[1]


def _extra(request: oip.ModelInferRequest) -> None:
    request.inputs.add(name="z", datatype="INT64", shape=[1])
    request.raw_input_contents.append(bytes(8))


def _twice(request: oip.ModelInferRequest) -> None:
    request.inputs[1].CopyFrom(request.inputs[0])
    request.raw_input_contents[1] = request.raw_input_contents[0]


def _datatype(request: oip.ModelInferRequest) -> None:
    request.inputs[0].datatype = "INT32"


def _unknown_datatype(request: oip.ModelInferRequest) -> None:
    request.inputs[0].datatype = "FLOAT"


def _shape(request: oip.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [1, 4]


def _rows_differ(request: oip.ModelInferRequest) -> None:
    request.inputs[1].shape[:] = [1, 1]
    request.raw_input_contents[1] = bytes(8)


def _no_rows(request: oip.ModelInferRequest) -> None:
    for tensor in request.inputs:
        tensor.shape[0] = 0
    request.raw_input_contents[:] = [b"", b""]


def _many_rows(request: oip.ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [9, 2]
    request.inputs[1].shape[:] = [9, 1]
    request.raw_input_contents[:] = [bytes(72), bytes(72)]


def _nan(request: oip.ModelInferRequest) -> None:
    request.raw_input_contents[0] = np.array([[1, 2], [3, np.nan]], "<f4").tobytes()


def _output(request: oip.ModelInferRequest) -> None:
    request.outputs.add(name="w")


def _model(request: oip.ModelInferRequest) -> None:
    request.model_name = "nosuch"


def _version(request: oip.ModelInferRequest) -> None:
    request.model_version = "77"


def _timeout(request: oip.ModelInferRequest) -> None:
    request.parameters["timeout"].string_param = "soon"


def _priority(request: oip.ModelInferRequest) -> None:
    request.parameters["priority"].int64_param = -3


def _short(request: oip.ModelInferRequest) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-4]


FAULTS: list[tuple[Change, Status, str]] = [
    (_name, Status.INVALID_ARGUMENT, "inputs[0].name"),
    (_missing, Status.INVALID_ARGUMENT, "inputs"),
    (_extra, Status.INVALID_ARGUMENT, "inputs[2]"),
    (_twice, Status.INVALID_ARGUMENT, "inputs[1]"),
    (_datatype, Status.INVALID_ARGUMENT, "inputs[0].datatype"),
    (_unknown_datatype, Status.INVALID_ARGUMENT, "inputs[0].datatype"),
    (_shape, Status.INVALID_ARGUMENT, "inputs[0].shape"),
    (_rows_differ, Status.INVALID_ARGUMENT, "inputs[1].shape"),
    (_no_rows, Status.INVALID_ARGUMENT, "inputs[0].shape"),
    (_many_rows, Status.INVALID_ARGUMENT, "max_batch_rows"),
    (_nan, Status.INVALID_ARGUMENT, "row 1"),
    (_output, Status.INVALID_ARGUMENT, "outputs[0].name"),
    (_model, Status.NOT_FOUND, "nosuch"),
    (_version, Status.NOT_FOUND, "77"),
    (_timeout, Status.INVALID_ARGUMENT, "parameters.timeout"),
    (_priority, Status.INVALID_ARGUMENT, "parameters.priority"),
    (_short, Status.INVALID_ARGUMENT, "12 bytes"),
]


def rest_form(request: oip.ModelInferRequest) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of the same request with binary tensors."""
    raws = list(request.raw_input_contents)
    head: dict[str, Any] = {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
            for tensor, raw in zip(request.inputs, raws, strict=True)
        ]
    }
    if request.outputs:
        head["outputs"] = [{"name": output.name} for output in request.outputs]
    if request.parameters:
        head["parameters"] = {
            key: getattr(value, str(value.WhichOneof("parameter_choice"))) for key, value in request.parameters.items()
        }
    text = json.dumps(head).encode()
    version = f"/versions/{request.model_version}" if request.model_version else ""
    path = f"/v2/models/{request.model_name}{version}/infer"
    return path, text + b"".join(raws), {"Inference-Header-Content-Length": str(len(text))}


def rest(connection: http.client.HTTPConnection, request: oip.ModelInferRequest) -> tuple[int, dict[str, Any]]:
    path, body, headers = rest_form(request)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(("change", "status", "words"), FAULTS, ids=lambda part: getattr(part, "__name__", None))
def test_fault_reads_the_same_on_both_protocols(
    cluster: SyncCluster, change: Change, status: Status, words: str
) -> None:
    """Status by the table, the field and the remedy in the text, and nothing broken for who comes next."""
    request = good()
    change(request)
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        error = refusal(channel, OIP + "ModelInfer", request.SerializeToString())
        assert call(channel, OIP + "ModelInfer", good()).outputs
    connection = http.client.HTTPConnection(cluster.http_address, timeout=10)
    try:
        http_status, answer = rest(connection, request)
        assert rest(connection, good())[0] == 200
    finally:
        connection.close()
    text = str(error.details())
    assert error.code().value[0] == status
    assert http_status == HTTP_STATUS[status]
    assert words in text
    assert ";" in text, "what to do about it is missing"
    assert answer == {"error": text}


def test_message_above_the_limit_reads_the_same(cluster: SyncCluster) -> None:
    """RESOURCE_EXHAUSTED and 413, with the setting that raises the limit."""
    request = good()
    request.raw_input_contents[0] = bytes(150_000)
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        error = refusal(channel, OIP + "ModelInfer", request.SerializeToString())
        assert call(channel, OIP + "ModelInfer", good()).outputs
    connection = http.client.HTTPConnection(cluster.http_address, timeout=10)
    try:
        http_status, answer = rest(connection, request)
    finally:
        connection.close()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert http_status == 413
    for text in (str(error.details()), answer["error"]):
        assert "router.limits.max_message_bytes = 100000" in text
