"""Requests and responses as callers make and read them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos import inference_pb2
from serving.spec import NUMPY_DTYPES, Signature, TensorSpec
from serving.tensors import to_raw

Array = NDArray[Any]
Request = inference_pb2.ModelInferRequest

ROW = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (2,)),))


def request(
    arrays: Mapping[str, Array],
    *,
    outputs: Sequence[str] = (),
    request_id: str = "",
    datatypes: Mapping[str, str] | None = None,
) -> Request:
    """A request with raw contents; datatypes are told by the arrays."""
    made = Request(model_name="m", model_version="1", id=request_id)
    for name, array in arrays.items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        made.inputs.add(name=name, datatype=datatype, shape=array.shape)
        made.raw_input_contents.append(to_raw(array))
    for name in outputs:
        made.outputs.add(name=name)
    return made


def datatype_of(array: Array) -> str:
    return next(name for name, dtype in NUMPY_DTYPES.items() if dtype == array.dtype)


def rows(count: int = 1, columns: int = 3, start: float = 0.0) -> Array:
    return (np.arange(count * columns, dtype=np.float32) + np.float32(start)).reshape(count, columns)


def texts(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def parse(response: bytes) -> inference_pb2.ModelInferResponse:
    return inference_pb2.ModelInferResponse.FromString(response)
