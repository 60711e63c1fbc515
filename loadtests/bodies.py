"""The fixed requests that load generators send: one row for a model, as gRPC, as REST with a binary
tensor, as the protocol's JSON, and as the plain JSON of servers that speak no protocol."""

import json
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dodona.client.codec import encode
from dodona.client.description import Description
from dodona.client.inputs import tensors_from
from loadtests.h2load import Load

Row = Sequence[float] | NDArray[np.float32]
"""One row of a model's input, without the batch dimension."""

GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


def grpc_load(address: str, model: Description, row: Row, *, connections: int, streams: int) -> Load:
    """A ModelInfer call: five bytes of gRPC framing (not compressed, length), then the message."""
    message = encode(model.name, "", tensors_from(np.asarray([row], np.float32), model)).SerializeToString()
    headers = (("content-type", "application/grpc"), ("te", "trailers"))
    body = struct.pack(">BI", 0, len(message)) + message
    return Load(f"http://{address}{GRPC_PATH}", body, headers, connections, streams)


def rest_load(address: str, model: Description, row: Row, *, connections: int) -> Load:
    """POST /v2/models/NAME/infer: a JSON head, then the tensor's bytes; the answer comes in the same form."""
    tensor = model.inputs[0]
    rows = np.asarray([row], tensor.dtype)
    raw = rows.tobytes()
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": rows.shape,
                    "datatype": tensor.datatype,
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = (
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", str(len(head))),
    )
    return Load(f"http://{address}/v2/models/{model.name}/infer", head + raw, headers, connections, http1=True)


def json_load(address: str, model: Description, row: Row, *, connections: int) -> Load:
    """POST /v2/models/NAME/infer with the tensor as JSON numbers; the answer is JSON too."""
    tensor = model.inputs[0]
    rows = np.asarray([row], tensor.dtype)
    data = rows.ravel().tolist()
    body = {"inputs": [{"name": tensor.name, "shape": rows.shape, "datatype": tensor.datatype, "data": data}]}
    return _json(f"http://{address}/v2/models/{model.name}/infer", body, connections)


def instances_load(url: str, row: Row, *, connections: int) -> Load:
    """POST {"instances": [[...]]}: the form that examples of servers written by hand use."""
    return _json(url, {"instances": np.asarray([row], np.float32).tolist()}, connections)


def _json(url: str, body: object, connections: int) -> Load:
    return Load(url, json.dumps(body).encode(), (("content-type", "application/json"),), connections, http1=True)
