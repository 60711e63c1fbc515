"""A serialised inference.ModelInferResponse to the body of a REST reply.

The members stand in Triton's order, tensors are flat, and where an output is wanted as binary its bytes follow the
JSON, whose length is then in the header Inference-Header-Content-Length.

All of a reply but its values is a `Skeleton`: one model's replies mostly have the same, so it can be kept (see
`templates`).
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import orjson

from protos import inference_pb2
from router.edge.rest.decode import Wanted
from router.edge.rest.elements import unpack
from router.edge.rest.exchange import BINARY_TYPE, JSON_TYPE, Response
from router.edge.rest.parameters import read_parameters
from serving.spec import NUMPY_DTYPES
from serving.tensors import from_contents, to_raw

# Those whose values NumPy holds as they are and orjson writes as they are, but for what is not finite.
_PLAIN: Final = {name: dtype for name, dtype in NUMPY_DTYPES.items() if name not in ("BYTES", "BF16")}


class Skeleton:
    """`texts` are the JSON around the values: one before each output that is not binary, and one at the end."""

    __slots__ = ("_datatypes", "_fields", "_texts", "any_binary", "binary")

    def __init__(self, answer: inference_pb2.ModelInferResponse, wanted: Wanted, sizes: list[int]) -> None:
        """`sizes` are those of the outputs' raw bytes."""
        elsewhere = ["shared_memory_region" in output.parameters for output in answer.outputs]
        binary = [wanted.binary(output.name) for output in answer.outputs]
        self.any_binary = any(is_binary and not away for is_binary, away in zip(binary, elsewhere, strict=True))
        self.binary = [is_binary or away for is_binary, away in zip(binary, elsewhere, strict=True)]
        """Of each output: that its values, if any, are not in the JSON. Those in shared memory are nowhere here."""
        self._datatypes = [output.datatype for output in answer.outputs]
        self._fields = [f"outputs[{index}].data" for index in range(len(sizes))]
        document: dict[str, Any] = {"id": answer.id} if answer.id else {}
        document["model_name"] = answer.model_name
        document["model_version"] = answer.model_version
        if answer.parameters:
            document["parameters"] = read_parameters(answer.parameters)
        self._texts: list[bytes] = []
        text = orjson.dumps(document)[:-1] + b',"outputs":['
        for index, (output, apart, size) in enumerate(zip(answer.outputs, self.binary, sizes, strict=True)):
            entry = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
            parameters = read_parameters(output.parameters) if output.parameters else {}
            if apart and not elsewhere[index]:
                parameters["binary_data_size"] = size
            text += (b"," if index else b"") + orjson.dumps(entry)[:-1]
            if not apart:
                self._texts.append(text + b',"data":')
                text = b""
            text += b',"parameters":' + orjson.dumps(parameters) if parameters else b""
            text += b"}"
        self._texts.append(text + b"]}")

    def filled(self, raws: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
        """The body with the outputs' values, and how much of it is JSON. Raises InvalidRequest where an output of BYTES
        is wanted as JSON and is not UTF-8."""
        if len(raws) == 1 and not self.binary[0]:
            body = b"".join(
                (self._texts[0], _values(bytes(raws[0]), self._datatypes[0], self._fields[0]), self._texts[1])
            )
            return body, len(body)
        parts: list[bytes] = []
        tensors: list[bytes | memoryview] = []
        texts = iter(self._texts)
        for index, raw in enumerate(raws):
            if self.binary[index]:
                tensors.append(raw)
            else:
                parts += (next(texts), _values(bytes(raw), self._datatypes[index], self._fields[index]))
        parts.append(next(texts))
        if not tensors:
            body = b"".join(parts)
            return body, len(body)
        json_size = sum(map(len, parts))
        return b"".join((*parts, *tensors)), json_size


def _values(raw: bytes, datatype: str, field: str) -> bytes:
    """A flat JSON array."""
    dtype = _PLAIN.get(datatype)
    if dtype is not None:
        text = orjson.dumps(np.frombuffer(raw, dtype), option=orjson.OPT_SERIALIZE_NUMPY)
        if b"null" not in text:  # how orjson writes NaN, but infinities too
            return text
    return orjson.dumps(unpack(raw, datatype, field), option=orjson.OPT_SERIALIZE_NUMPY)


def response_of(reply: bytes, wanted: Wanted) -> Response:
    """Raises InvalidRequest where an output of BYTES is wanted as JSON and is not UTF-8."""
    answer = inference_pb2.ModelInferResponse.FromString(reply)
    raws = raws_of(answer)
    skeleton = Skeleton(answer, wanted, [len(raw) for raw in raws])
    body, json_size = skeleton.filled(raws)
    if not skeleton.any_binary:
        return Response(body, 200, [JSON_TYPE])
    return Response(body, 200, [BINARY_TYPE, (b"inference-header-content-length", b"%d" % json_size)])


def textual_bytes(reply: bytes, wanted: Wanted) -> int:
    """How much of a reply is to be written as JSON, in bytes of the tensors."""
    answer = inference_pb2.ModelInferResponse.FromString(reply)
    pairs = zip(answer.outputs, raws_of(answer), strict=True)
    return sum(len(raw) for output, raw in pairs if not wanted.binary(output.name))


def raws_of(answer: inference_pb2.ModelInferResponse) -> list[bytes]:
    """The raw bytes of each output, whichever form the worker chose."""
    if answer.raw_output_contents:
        return list(answer.raw_output_contents)
    return [
        to_raw(from_contents(cast(inference_pb2.ModelInferRequest.InferInputTensor, output), output.name))
        for output in answer.outputs
    ]
