"""A batch's outputs to one response per request, written by hand around pre-encoded parts.

A ModelInferResponse is `name version id outputs raw...`. All but the id and the raw values depend on the rows, the
outputs asked for and their extents only, so it is encoded once for each such combination and kept. What is written
parses to the same message as protobuf would have made (a test compares).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protos import inference_pb2
from serving.errors import DodonaError, ModelFailed
from serving.runtimes.base import Arrays
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.tensors import shape_matches, to_raw
from serving.wire import field_bytes, head
from serving.worker.classes import top_classes
from serving.worker.request import DecodedRequest, WantedOutput
from serving.worker.shared_outputs import encode_shared

_MODEL_NAME, _MODEL_VERSION, _OUTPUTS, _RAW = 1, 2, 5, 6
_MAX_TEMPLATES: Final = 4096

Array = NDArray[Any]


class _Column:
    """One output of a batch: cut by rows into the responses."""

    __slots__ = ("array", "extents", "raw", "row_bytes")

    def __init__(self, array: Array, extents: tuple[int, ...], fixed: bool) -> None:
        self.array = array
        self.extents = extents
        self.raw = array.tobytes() if fixed else b""
        self.row_bytes = len(self.raw) // len(array) if fixed and array.ndim and len(array) else 0


class Encoder:
    """Responses of one model version."""

    def __init__(self, spec: ModelSpec, signature: Signature) -> None:
        self._signature = signature
        self._front = field_bytes(_MODEL_NAME, spec.name.encode()) + field_bytes(_MODEL_VERSION, spec.version.encode())
        self._all = tuple(WantedOutput(place) for place in range(len(signature.outputs)))
        self._templates: dict[tuple[object, ...], tuple[bytes, tuple[bytes, ...]]] = {}
        self._fixed = [tensor.datatype != "BYTES" for tensor in signature.outputs]
        self._plain = signature.batched and all(self._fixed)

    def encode(
        self, requests: Sequence[DecodedRequest], outputs: Arrays, runtime: str = ""
    ) -> "list[bytes | DodonaError]":
        """One serialised ModelInferResponse a request, or why its outputs could not go to shared memory; who asked is
        told the `runtime`. Raises ModelFailed if the outputs are not as announced."""
        columns = self._columns(outputs, sum([request.rows for request in requests]))
        extents = tuple([column.extents for column in columns])
        responses: list[bytes | DodonaError] = []
        start = 0
        for request in requests:
            end = start + request.rows
            if self._plain and request.outputs is None:
                front, heads = self._template(request.rows, None, extents)
                pieces = [self._front, request.id_field, front]
                for raw_head, column in zip(heads, columns, strict=True):
                    pieces += (raw_head, column.raw[start * column.row_bytes : end * column.row_bytes])
                responses.append(b"".join(pieces))
            else:
                try:
                    response = self._encode_slowly(request, columns, extents, start, end)
                except DodonaError as error:  # this caller's shared memory; its neighbours get their answers
                    responses.append(error)
                else:
                    responses.append(response + _explanation(runtime) if request.explain else response)
            start = end
        return responses

    def check(self, outputs: Arrays, rows: int) -> None:
        """Raises ModelFailed if these are not outputs for `rows` rows as announced."""
        self._columns(outputs, rows)

    def _columns(self, outputs: Arrays, rows: int) -> list[_Column]:
        return [self._column(place, tensor, outputs, rows) for place, tensor in enumerate(self._signature.outputs)]

    def _column(self, place: int, tensor: TensorSpec, outputs: Arrays, rows: int) -> _Column:
        array = outputs.get(tensor.name)
        if array is None:
            raise ModelFailed(
                f"the model gave no output {tensor.name!r}, only {', '.join(outputs) or 'none'}",
                remedy="return every output that model.yaml lists",
            )
        fixed = self._fixed[place]
        if array.dtype != tensor.dtype:
            array = _cast(array, tensor)
        if self._signature.batched:
            if array.ndim == 0 or len(array) != rows:
                raise ModelFailed(
                    f"output {tensor.name!r} has {len(array) if array.ndim else 'no'} rows for {rows} rows of input",
                    remedy="return one row per input row, or set batching.enabled: false in model.yaml",
                )
            extents = array.shape[1:]
        else:
            extents = array.shape
        if extents != tensor.shape and not shape_matches(extents, tensor.shape):
            raise ModelFailed(
                f"output {tensor.name!r} has shape {list(array.shape)}, announced is"
                f" {list(self._signature.wire_shape(tensor))}",
                remedy="correct the shape in model.yaml or in the model",
            )
        return _Column(array, extents, fixed)

    def _encode_slowly(
        self,
        request: DecodedRequest,
        columns: Sequence[_Column],
        extents: tuple[tuple[int, ...], ...],
        start: int,
        end: int,
    ) -> bytes:
        """With chosen outputs, classes, texts, or no batch."""
        wanted = self._all if request.outputs is None else request.outputs
        arrays = [columns[output.index].array for output in wanted]
        if self._signature.batched:
            arrays = [array[start:end] for array in arrays]
        arrays = [
            self._classes(output, array) if output.top_classes else array
            for output, array in zip(wanted, arrays, strict=True)
        ]
        if request.shared:
            names = [self._signature.outputs[output.index] for output in wanted]
            return b"".join((self._front, request.id_field, encode_shared(wanted, names, arrays)))
        front, _ = self._template(request.rows, wanted, extents)
        pieces = [self._front, request.id_field, front]
        for array in arrays:
            raw = to_raw(array)
            pieces += (head(_RAW, len(raw)), raw)
        return b"".join(pieces)

    def _classes(self, output: WantedOutput, part: Array) -> Array:
        labels = self._signature.outputs[output.index].labels
        found = top_classes(part if self._signature.batched else part[None], output.top_classes, labels)
        return found if self._signature.batched else found[0]

    def _template(
        self, rows: int, wanted: tuple[WantedOutput, ...] | None, extents: tuple[tuple[int, ...], ...]
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """The `outputs` fields, and what stands before each output's raw values (where their size is fixed)."""
        key = (rows, wanted, extents)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[key] = self._make_template(rows, wanted or self._all, extents)
        return template

    def _make_template(
        self, rows: int, wanted: tuple[WantedOutput, ...], extents: tuple[tuple[int, ...], ...]
    ) -> tuple[bytes, tuple[bytes, ...]]:
        described = inference_pb2.ModelInferResponse()
        heads = []
        for output in wanted:
            tensor = self._signature.outputs[output.index]
            extent = extents[output.index]
            elements = int(np.prod(extent, dtype=np.int64))
            datatype = tensor.datatype
            if output.top_classes:
                datatype, extent = "BYTES", (min(output.top_classes, elements),)
            described.outputs.add(
                name=tensor.name, datatype=datatype, shape=(rows, *extent) if self._signature.batched else extent
            )
            heads.append(head(_RAW, rows * elements * tensor.dtype.itemsize))
        return described.SerializeToString(), tuple(heads)


def _explanation(runtime: str) -> bytes:
    """The response's parameter `runtime`; fields may stand in any order."""
    return inference_pb2.ModelInferResponse(
        parameters={"runtime": inference_pb2.InferParameter(string_param=runtime)}
    ).SerializeToString()


def _cast(array: Array, tensor: TensorSpec) -> Array:
    if tensor.datatype == "BYTES" and array.dtype.kind in "SU":
        return array
    if tensor.datatype == "BYTES" or not np.can_cast(array.dtype, tensor.dtype, casting="same_kind"):
        raise ModelFailed(
            f"output {tensor.name!r} is {array.dtype}, announced is {tensor.datatype}",
            remedy="correct the datatype in model.yaml or in the model",
        )
    return array.astype(tensor.dtype)
