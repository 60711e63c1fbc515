"""Outputs that go to a caller's shared memory: written there, and described in the response without their values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos import inference_pb2
from serving.shared_memory.regions import BYTE_SIZE, OFFSET, REGION
from serving.spec import TensorSpec
from serving.tensors import to_raw
from serving.worker.request import WantedOutput


def encode_shared(
    wanted: Sequence[WantedOutput], tensors: Sequence[TensorSpec], arrays: Sequence[NDArray[Any]]
) -> bytes:
    """The fields `outputs` and `raw_output_contents` of a response; the latter has an empty entry for what is in shared
    memory, so that entries can be counted as in Triton's. Raises InvalidRequest where a span cannot hold its output."""
    response = inference_pb2.ModelInferResponse()
    for output, tensor, array in zip(wanted, tensors, arrays, strict=True):
        described = response.outputs.add(
            name=tensor.name, datatype="BYTES" if output.top_classes else tensor.datatype, shape=array.shape
        )
        span = output.span
        if span is None:
            response.raw_output_contents.append(to_raw(array))
            continue
        raw = _raw(array)
        span.write(raw)
        described.parameters[REGION].string_param = span.region
        described.parameters[BYTE_SIZE].int64_param = len(raw)
        if span.offset:
            described.parameters[OFFSET].int64_param = span.offset
        response.raw_output_contents.append(b"")
    return response.SerializeToString()


def _raw(array: NDArray[Any]) -> "bytes | memoryview":
    """The raw form; where the array holds it already, a view."""
    plain = array.dtype.kind not in "OSU" and array.size and array.dtype.isnative
    return np.ascontiguousarray(array).data.cast("B") if plain else to_raw(array)
