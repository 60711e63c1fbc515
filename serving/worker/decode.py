"""Request bytes to a valid request, or an InvalidRequest that names the field and the remedy.

Nothing here touches another request: what is wrong with one is found before it joins a batch. Tensors with elements
of a fixed size stay bytes (only their length is checked), so that a batch is put together by joining bytes.

One-row requests that repeat an earlier one up to their tensors take a short cut: `serving.worker.fronts`.
"""

from collections.abc import Sequence
from math import prod
from typing import Final

from google.protobuf.message import DecodeError

from protos import inference_pb2
from serving.errors import InvalidRequest
from serving.link.framing import LARGE_BYTES
from serving.shared_memory.regions import NOWHERE, Regions, Span
from serving.spec import NUMPY_DTYPES, Signature
from serving.tensors import dtype_of, from_contents, from_raw, shape_matches, to_raw
from serving.wire import field_bytes, tail_of
from serving.worker.fronts import Fronts
from serving.worker.request import DecodedRequest, Part, WantedOutput
from serving.worker.values import check_values, needs_check
from serving.worker.wanted import wanted_outputs

_RESPONSE_ID: Final = 3
_RAW_INPUT_CONTENTS: Final = 7
# An empty tensor takes no bytes whatever its other extents, so nothing else bounds them.
_MAX_EMPTY_EXTENTS: Final = 2**31

_Input = inference_pb2.ModelInferRequest.InferInputTensor
_Content = bytes | memoryview | Span | None


class Decoder:
    """Decodes requests to one model version.

    `max_batch_rows` bounds the rows of a request; `text_inputs` are BYTES inputs that must be UTF-8.
    """

    def __init__(self, signature: Signature, *, max_batch_rows: int, text_inputs: frozenset[str] = frozenset()) -> None:
        self._signature = signature
        self._max_batch_rows = max_batch_rows
        self._text_inputs = text_inputs
        self._places = {tensor.name: place for place, tensor in enumerate(signature.inputs)}
        self._names = [tensor.name for tensor in signature.inputs]
        self._wire_shapes = [signature.wire_shape(tensor) for tensor in signature.inputs]
        self._fixed = signature.batched and all(-1 not in tensor.shape for tensor in signature.inputs)
        self._checked = [needs_check(tensor, tensor.name in text_inputs) for tensor in signature.inputs]
        self._any_checked = any(self._checked)
        plain = self._fixed and all(tensor.datatype != "BYTES" for tensor in signature.inputs)
        self._fronts = Fronts(signature) if plain and signature.inputs else None

    def decode(self, message: bytes | memoryview, regions: Regions = NOWHERE) -> DecodedRequest:
        """`message` is a serialised ModelInferRequest, `regions` the shared memory it may name. Raises InvalidRequest,
        RegionNotFound, Unimplemented."""
        fronts = self._fronts
        if fronts is None:
            return self._parse(message, regions)
        request = fronts.find(message)
        if request is None:
            request = self._parse(message, regions)
            if request.rows == 1 and not request.shared:
                fronts.keep(message, request)
        elif self._any_checked:
            self._check_parts(request)
        return request

    def _parse(self, message: bytes | memoryview, regions: Regions) -> DecodedRequest:
        # Large tensors are not shown to the parser, which would copy them twice.
        end, bounds = tail_of(message, _RAW_INPUT_CONTENTS) if len(message) >= LARGE_BYTES else (len(message), [])
        raws: Sequence[bytes | memoryview] = [memoryview(message)[start:stop] for start, stop in bounds]
        try:
            request = inference_pb2.ModelInferRequest.FromString(bytes(message[:end]))
        except DecodeError:
            raise InvalidRequest(
                "the message is not a ModelInferRequest, or a text in it is not UTF-8",
                remedy="serialise inference.ModelInferRequest of the Open Inference Protocol v2",
            ) from None
        tensors = list(request.inputs)
        places = self._match(tensors)
        contents = self._contents(raws or request.raw_input_contents, tensors, regions)
        parts: list[Part] = [b""] * len(places)
        shapes: list[tuple[int, ...]] = [()] * len(places)
        for index, (place, tensor) in enumerate(zip(places, tensors, strict=True)):
            shapes[place] = self._shape(index, place, tensor)
            parts[place] = self._part(index, place, tensor, contents[index])
        rows = self._rows(places, shapes) if self._signature.batched and places else 1
        outputs = wanted_outputs(request.outputs, self._signature, regions) if request.outputs else None
        explain = bool(request.parameters) and request.parameters["explain_runtime"].bool_param
        if explain and outputs is None:
            outputs = tuple(WantedOutput(place) for place in range(len(self._signature.outputs)))
        return DecodedRequest(
            rows=rows,
            parts=tuple(parts),
            shapes=None if self._fixed else tuple(shape[self._signature.batched :] for shape in shapes),
            id_field=field_bytes(_RESPONSE_ID, request.id.encode()),
            outputs=outputs,
            explain=explain,
            shared=outputs is not None and any(output.span is not None for output in outputs),
        )

    def _match(self, tensors: Sequence[_Input]) -> Sequence[int]:
        """Place in the signature of every input sent."""
        names = [tensor.name for tensor in tensors]
        if names == self._names:
            return range(len(names))
        places: list[int] = []
        for index, name in enumerate(names):
            place = self._places.get(name)
            if place is None:
                raise InvalidRequest(
                    f"the model has no input {name!r}",
                    field=f"inputs[{index}].name",
                    remedy=f"its inputs are {', '.join(map(str, self._signature.inputs))}",
                )
            if place in places:
                raise InvalidRequest(
                    f"input {name!r} is sent twice", field=f"inputs[{index}].name", remedy="send each input once"
                )
            places.append(place)
        if len(places) != len(self._names):
            missing = [str(tensor) for place, tensor in enumerate(self._signature.inputs) if place not in places]
            raise InvalidRequest(f"missing {', '.join(missing)}", field="inputs", remedy="send every input")
        return places

    def _contents(
        self, raws: Sequence[bytes | memoryview], tensors: Sequence[_Input], regions: Regions
    ) -> "list[_Content]":
        """What each input's elements are in; the raw contents are those of the inputs that are not in shared memory."""
        contents: list[_Content] = [None] * len(tensors)
        sent = 0
        for index, tensor in enumerate(tensors):
            span = regions.span_of(tensor.parameters, f"inputs[{index}]") if tensor.parameters else None
            if tensor.HasField("contents") and (raws or span is not None):
                raise InvalidRequest(
                    f"typed contents and {'raw_input_contents' if span is None else 'shared memory'} are both set",
                    field=f"inputs[{index}].contents",
                    remedy="send all inputs raw, or all typed" if span is None else "send one of the two",
                )
            if span is not None:
                contents[index] = span
            elif raws:
                contents[index] = raws[sent] if sent < len(raws) else b""
                sent += 1
        if raws and len(raws) != sent:
            shared = sum(isinstance(content, Span) for content in contents)
            raise InvalidRequest(
                f"{len(raws)} raw contents for {sent} inputs" + (f" and {shared} in shared memory" if shared else ""),
                field="raw_input_contents",
                remedy="send one for each input, in the order of the inputs",
            )
        return contents

    def _shape(self, index: int, place: int, tensor: _Input) -> tuple[int, ...]:
        spec = self._signature.inputs[place]
        if tensor.datatype != spec.datatype:
            dtype_of(tensor.datatype, f"inputs[{index}]")
            raise InvalidRequest(
                f"datatype {tensor.datatype!r} for {spec.name!r}, which is {spec.datatype}",
                field=f"inputs[{index}].datatype",
                remedy=f"send {spec.datatype}",
            )
        shape = tuple(tensor.shape)
        wire_shape = self._wire_shapes[place]
        if not shape_matches(shape, wire_shape) or min(shape, default=0) < 0:
            open_extent = "the rows of the request" if self._signature.batched else "any extent"
            raise InvalidRequest(
                f"shape {list(shape)} for {spec.name!r}, which takes {list(wire_shape)}",
                field=f"inputs[{index}].shape",
                remedy=f"send {len(wire_shape)} extents; the first -1 stands for {open_extent}"
                if -1 in wire_shape
                else "send exactly that shape",
            )
        if 0 in shape and prod(extent for extent in shape if extent) > _MAX_EMPTY_EXTENTS:
            raise InvalidRequest(
                f"shape {list(shape)} is out of bounds, though it holds no element",
                field=f"inputs[{index}].shape",
                remedy="send the real extents",
            )
        return shape

    def _part(self, index: int, place: int, tensor: _Input, raw: "_Content") -> Part:
        spec = self._signature.inputs[place]
        if isinstance(raw, Span):
            if spec.datatype != "BYTES" and raw.size != prod(tensor.shape) * spec.dtype.itemsize:
                raise InvalidRequest(
                    f"{raw.size} bytes, but shape {list(tensor.shape)} of {spec.datatype} needs"
                    f" {prod(tensor.shape) * spec.dtype.itemsize}",
                    field=f"inputs[{index}].parameters.shared_memory_byte_size",
                    remedy="send the size of the tensor, not of the region",
                )
            if spec.datatype != "BYTES" and not self._checked[place]:
                return raw
            raw = raw.read()  # what is checked must be what is run
        field = f"inputs[{index}]" if raw is None else f"raw_input_contents[{index}]"
        if raw is None or spec.datatype == "BYTES":
            array = from_contents(tensor, field) if raw is None else from_raw(bytes(raw), "BYTES", tensor.shape, field)
            part: Part = array if spec.datatype == "BYTES" else to_raw(array)
        else:
            needed = prod(tensor.shape) * NUMPY_DTYPES[spec.datatype].itemsize
            if len(raw) != needed:
                raise InvalidRequest(
                    f"{len(raw)} bytes, but shape {list(tensor.shape)} of {spec.datatype} needs {needed}",
                    field=field,
                    remedy="send row-major little-endian bytes that fill the shape exactly",
                )
            part = raw
        if self._checked[place]:
            check_values(part, spec, tuple(tensor.shape), f"inputs[{index}]", text=spec.name in self._text_inputs)
        return part

    def _check_parts(self, request: DecodedRequest) -> None:
        """The values of a one-row request that took the short cut."""
        for place, (part, spec) in enumerate(zip(request.parts, self._signature.inputs, strict=True)):
            if self._checked[place]:
                check_values(part, spec, (1, *spec.shape), f"inputs[{place}]", text=False)

    def _rows(self, places: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> int:
        rows = shapes[places[0]][0]
        for index, place in enumerate(places):
            if shapes[place][0] != rows:
                raise InvalidRequest(
                    f"{shapes[place][0]} rows, but inputs[0] has {rows}",
                    field=f"inputs[{index}].shape",
                    remedy="give all inputs the same first extent: the rows of the request",
                )
        if rows == 0:
            raise InvalidRequest("0 rows", field="inputs[0].shape", remedy="send at least one row")
        if rows > self._max_batch_rows:
            raise InvalidRequest(
                f"{rows} rows, above batching.max_batch_rows = {self._max_batch_rows}",
                field="inputs[0].shape",
                remedy="send fewer rows at a time, or raise batching.max_batch_rows in model.yaml",
            )
        return rows
