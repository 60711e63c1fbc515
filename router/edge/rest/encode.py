"""A serialised inference.ModelInferResponse to the body of a REST reply.

The members stand in Triton's order, tensors are flat, and where an output is wanted as binary its bytes follow the
JSON, whose length is then in the header Inference-Header-Content-Length.
"""

from typing import Any, cast

import orjson

from protos import inference_pb2
from router.edge.rest.decode import Wanted
from router.edge.rest.elements import unpack
from router.edge.rest.exchange import BINARY_TYPE, JSON_TYPE, Response
from router.edge.rest.parameters import read_parameters
from serving.tensors import from_contents, to_raw


def response_of(reply: bytes, wanted: Wanted) -> Response:
    """Raises InvalidRequest where an output of BYTES is wanted as JSON and is not UTF-8."""
    answer = inference_pb2.ModelInferResponse.FromString(reply)
    document: dict[str, Any] = {"id": answer.id} if answer.id else {}
    document["model_name"] = answer.model_name
    document["model_version"] = answer.model_version
    if answer.parameters:
        document["parameters"] = read_parameters(answer.parameters)
    tensors: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for index, (output, raw) in enumerate(zip(answer.outputs, raws_of(answer), strict=True)):
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        parameters = read_parameters(output.parameters) if output.parameters else {}
        if "shared_memory_region" in parameters:
            pass  # its values are there
        elif wanted.binary(output.name):
            parameters["binary_data_size"] = len(raw)
            tensors.append(raw)
        else:
            entry["data"] = unpack(raw, output.datatype, f"outputs[{index}].data")
        if parameters:
            entry["parameters"] = parameters
        outputs.append(entry)
    document["outputs"] = outputs
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not tensors:
        return Response(text, 200, [JSON_TYPE])
    size = (b"inference-header-content-length", b"%d" % len(text))
    return Response(b"".join((text, *tensors)), 200, [BINARY_TYPE, size])


def raws_of(answer: inference_pb2.ModelInferResponse) -> list[bytes]:
    """The raw bytes of each output, whichever form the worker chose."""
    if answer.raw_output_contents:
        return list(answer.raw_output_contents)
    return [
        to_raw(from_contents(cast(inference_pb2.ModelInferRequest.InferInputTensor, output), output.name))
        for output in answer.outputs
    ]
