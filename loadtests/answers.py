"""One request from Python, the very one that h2load repeats: what the server says, and how long its answer is."""

import http.client
import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
from numpy.typing import NDArray

from loadtests.bodies import GRPC_PATH
from loadtests.h2load import Load
from protos import inference_pb2

TIMEOUT_S = 20.0
FRAMING_BYTES = 5
"""In front of a gRPC message: whether it is compressed, and its length."""


@dataclass(frozen=True)
class Answer:
    """`values`: the first output, flat. `size`: bytes of the body as h2load counts them."""

    values: NDArray[np.float32]
    size: int


def ask(load: Load) -> Answer:
    """Raises RuntimeError with the server's words on an error status or an answer that cannot be read."""
    once = replace(load, connections=1, streams=1)
    return _over_http(once) if load.http1 else _over_grpc(once)


def _over_grpc(load: Load) -> Answer:
    address = urlsplit(load.url).netloc
    # A proxy of the environment must not come between: this is one machine talking to itself.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            raw: bytes = channel.unary_unary(GRPC_PATH)(load.body[FRAMING_BYTES:], timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise RuntimeError(f"{address} answers {error.code().name}: {error.details()}") from error
    response = inference_pb2.ModelInferResponse.FromString(raw)
    if response.raw_output_contents:
        values = np.frombuffer(response.raw_output_contents[0], np.float32)
    else:
        values = np.array(response.outputs[0].contents.fp32_contents, np.float32)
    return Answer(values, len(raw) + FRAMING_BYTES)


def _over_http(load: Load) -> Answer:
    parts = urlsplit(load.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, load.body, dict(load.headers))
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise RuntimeError(f"{parts.netloc} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"{parts.netloc} answers {response.status}: {body[:300]!r}")
    head = response.getheader("inference-header-content-length")
    if head is not None and int(head) < len(body):
        return Answer(np.frombuffer(body[int(head) :], np.float32), len(body))
    return Answer(np.array(_numbers(json.loads(body)), np.float32).ravel(), len(body))


def _numbers(document: Any) -> Any:
    """The predictions of {"outputs": [{"data": ...}]}, {"predictions": ...}, or the bare list."""
    if isinstance(document, dict):
        if "outputs" in document:
            return document["outputs"][0]["data"]
        if "predictions" in document:
            return document["predictions"]
        raise RuntimeError(f"an answer of unknown form: {json.dumps(document)[:300]}")
    return document
