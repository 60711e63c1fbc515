"""The v1 API of TensorFlow Serving and KServe: predict and model status."""

from typing import Any, Final

import numpy as np
import orjson

from protos import inference_pb2
from router.edge.rest.decode import assemble
from router.edge.rest.describing import model_names
from router.edge.rest.elements import unpack
from router.edge.rest.encode import raws_of
from router.edge.rest.exchange import Request, Response, as_json
from router.edge.rest.instances import tensors_of
from router.edge.rest.predict import compressed, predict
from router.tracing import http_origin
from serving.errors import Unavailable
from serving.spec import State

_ORIGIN: Final = http_origin("POST", "/v1/models/{model}:predict")

list_models = model_names

# TensorFlow Serving's words for the life of a version.
_STATES: Final = {
    State.READY: "AVAILABLE",
    State.LOADING: "LOADING",
    State.UNLOADING: "UNLOADING",
    State.UNAVAILABLE: "END",
    State.FAILED: "END",
}


async def predict_rows(request: Request) -> Response:
    document = await request.json()
    core = request.core
    signature = core.catalogue.described(request.model, request.version).signature
    tensors, columnar = tensors_of(document, signature)
    head = inference_pb2.ModelInferRequest(model_name=request.model, model_version=request.version)
    for tensor in tensors:
        head.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    message = assemble(head, [tensor.raw for tensor in tensors], core.settings.limits.max_message_bytes)
    answer = inference_pb2.ModelInferResponse.FromString(await predict(request, message, _ORIGIN))
    reply = {"outputs": _columns(answer)} if columnar else {"predictions": _rows(answer)}
    return await compressed(request, Response(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)))


def _outputs(answer: inference_pb2.ModelInferResponse) -> dict[str, Any]:
    """Each output as an array, or as nested lists, of its own shape."""
    outputs = {}
    for output, raw in zip(answer.outputs, raws_of(answer), strict=True):
        values = unpack(raw, output.datatype, output.name)
        if isinstance(values, list):
            nested = np.empty(len(values), object)
            nested[:] = values
            outputs[output.name] = nested.reshape(tuple(output.shape)).tolist()
        else:
            # [()] makes a scalar of an array without extents, which orjson does not know, and leaves others alone.
            outputs[output.name] = values.reshape(tuple(output.shape))[()]
    return outputs


def _columns(answer: inference_pb2.ModelInferResponse) -> Any:
    outputs = _outputs(answer)
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _rows(answer: inference_pb2.ModelInferResponse) -> Any:
    """One entry a row: the value of a single output, else a record. Outputs of unequal length stay columns."""
    outputs = _outputs(answer)
    if len(outputs) == 1 or len({output.shape[0] if output.shape else -1 for output in answer.outputs}) != 1:
        return _columns(answer)
    rows = answer.outputs[0].shape[0] if answer.outputs and answer.outputs[0].shape else 0
    return [{name: values[row] for name, values in outputs.items()} for row in range(rows)]


async def model_status(request: Request) -> Response:
    """KServe's `ready` and TensorFlow Serving's version states in one reply; 503 while nothing is ready."""
    catalogue = request.core.catalogue
    pool = catalogue.pool(request.model, request.version)
    if not pool.ready:
        raise Unavailable(f"model {pool.spec} is not ready", remedy="`dodona models` shows the state of every model")
    wanted = pool.spec.version if request.version else ""
    versions = [
        {
            "version": entry.version,
            "state": _STATES[entry.state],
            "status": {"error_code": "UNAVAILABLE" if entry.reason else "OK", "error_message": entry.reason},
        }
        for entry in catalogue.index()
        if entry.name == request.model and wanted in ("", entry.version)
    ]
    return as_json({"name": request.model, "ready": True, "model_version_status": versions})
