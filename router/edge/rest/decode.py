"""The body of an infer request (JSON, or JSON and binary tensors) to a serialised inference.ModelInferRequest.

The head (names, shapes, parameters) is a protobuf message; the tensors follow it as `raw_input_contents`, written by
hand, because a serialised message is the concatenation of its fields and that saves two copies of every tensor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from protos import inference_pb2
from router.edge.rest.elements import flatten, pack
from router.edge.rest.jsontext import parse
from router.edge.rest.parameters import mapping, write_parameters
from serving.errors import InvalidRequest, above_limit
from serving.spec import NUMPY_DTYPES, Signature, TensorSpec
from serving.tensors import element_count
from serving.wire import head

_MAX_RANK: Final = 32
_INT64: Final = range(2**63)
RAW_FIELD: Final = inference_pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which outputs the caller wants as binary: by name, else `default`."""

    default: bool = False
    by_name: Mapping[str, bool] = field(default_factory=dict)

    def binary(self, name: str) -> bool:
        return self.by_name.get(name, self.default)


_ALL_BINARY: Final = Wanted(default=True)


@dataclass(slots=True)
class Asked:
    """A request in parts: the serialised head, then the raw bytes of each tensor. Those that came as binary are views
    of the body, one behind the other; those that came as JSON are bytes."""

    head: bytes
    raws: list[bytes | memoryview]
    wanted: Wanted

    def message(self, max_bytes: int) -> bytes:
        """The serialised inference.ModelInferRequest. Raises TooLarge past `max_bytes`: the tensors can be larger than
        the JSON that holds them."""
        return joined(self.head, self.raws, max_bytes)


def json_part(body: bytes, json_size: int | None) -> bytes:
    """`json_size` is the value of Inference-Header-Content-Length, None without it. Raises InvalidRequest."""
    if json_size is None:
        return body
    if json_size > len(body):
        raise InvalidRequest(
            f"is {json_size}, but the body has {len(body)} bytes",
            field="inference-header-content-length",
            remedy="send the length of the JSON part",
        )
    return body[:json_size]


def asked_of(document: object, tail: memoryview, model: str, version: str) -> Asked:
    """`document` is the JSON, `tail` what follows it. Raises InvalidRequest, Unimplemented (shared memory)."""
    if not isinstance(document, dict):
        raise InvalidRequest("must be a JSON object", field="body", remedy='send {"inputs": [...]}')
    request = inference_pb2.ModelInferRequest(model_name=model, model_version=version, id=_id_of(document))
    parameters = mapping(document.get("parameters"), "parameters")
    default = parameters.get("binary_data_output", False)
    write_parameters(_without(parameters, "binary_data_output"), request.parameters, "parameters")
    raws = _read_inputs(_inputs_of(document), request, tail)
    wanted = Wanted(_flag(default, "parameters.binary_data_output"), _read_outputs(document.get("outputs"), request))
    return Asked(request.SerializeToString(), raws, wanted)


def message_of(
    body: bytes, json_size: int | None, model: str, version: str, *, max_depth: int, max_bytes: int
) -> tuple[bytes, Wanted]:
    """A whole body to the message, and what is wanted of its answer. Raises InvalidRequest, TooLarge, Unimplemented."""
    text = json_part(body, json_size)
    asked = asked_of(parse(text, max_depth), memoryview(body)[len(text) :], model, version)
    return asked.message(max_bytes), asked.wanted


def _without(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The document stays as it came."""
    return {key: value for key, value in values.items() if key != name} if name in values else values


def assemble(request: inference_pb2.ModelInferRequest, raws: Sequence[bytes | memoryview], max_bytes: int) -> bytes:
    """The request with its tensors. Raises TooLarge past `max_bytes`."""
    return joined(request.SerializeToString(), raws, max_bytes)


def joined(start: bytes, raws: Sequence[bytes | memoryview], max_bytes: int) -> bytes:
    """A serialised head with its tensors, each copied once. Raises TooLarge past `max_bytes`."""
    parts: list[bytes | memoryview] = [start]
    for raw in raws:
        parts += (head(RAW_FIELD, len(raw)), raw)
    message = b"".join(parts)
    check_message(len(message), max_bytes)
    return message


def check_message(size: int, max_bytes: int) -> None:
    """Raises TooLarge."""
    if size > max_bytes:
        raise above_limit(f"request of {size} bytes", "router.limits.max_message_bytes", max_bytes)


def _id_of(document: Mapping[str, Any]) -> str:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest("must be a string", field="id", remedy="quote it")
    return value or ""


def _inputs_of(document: Mapping[str, Any]) -> list[Any]:
    inputs = document.get("inputs")
    if isinstance(inputs, list):
        return inputs
    if "inputs" in document:
        raise InvalidRequest("must be a list of tensors", field="inputs", remedy='send [{"name": ...}]')
    near = get_close_matches("inputs", list(document), n=1)
    remedy = f"did you mean it by {near[0]!r}?" if near else 'send {"inputs": [{"name": ..., "data": [...]}]}'
    raise InvalidRequest("is missing", field="inputs", remedy=remedy)


def _read_inputs(
    inputs: Sequence[Any], request: inference_pb2.ModelInferRequest, tail: memoryview
) -> list[bytes | memoryview]:
    """Adds the tensors' heads to `request`; returns their raw bytes in the same order."""
    raws: list[bytes | memoryview] = []
    names = set()
    position = 0
    for index, value in enumerate(inputs):
        where = f"inputs[{index}]"
        tensor = mapping(value, where)
        name, datatype, shape = _name_of(tensor, where), _datatype_of(tensor, where), _shape_of(tensor, where)
        if name in names:
            raise InvalidRequest(f"input {name!r} is sent twice", field=f"{where}.name", remedy="send each input once")
        names.add(name)
        parameters = mapping(tensor.get("parameters"), f"{where}.parameters")
        size = parameters.get("binary_data_size")
        head = request.inputs.add(name=name, datatype=datatype, shape=shape)
        write_parameters(_without(parameters, "binary_data_size"), head.parameters, f"{where}.parameters")
        if "shared_memory_region" in parameters:
            _refuse_data(size, tensor, where)
        elif size is None:
            raws.append(data_of(tensor, datatype, shape, where))
        else:
            raws.append(_binary_of(tensor, size, tail, position, where))
            position += size
    if position != len(tail):
        raise InvalidRequest(
            f"{len(tail) - position} bytes follow the last tensor",
            field="body",
            remedy="the sum of binary_data_size must be the length of the binary part",
        )
    return raws


def _refuse_data(size: object, tensor: Mapping[str, Any], where: str) -> None:
    """A tensor in shared memory is nowhere else."""
    if size is not None or "data" in tensor:
        raise InvalidRequest(
            "data and shared memory are both set",
            field=f"{where}.data" if size is None else f"{where}.parameters.binary_data_size",
            remedy="send one of the two",
        )


def _name_of(tensor: Mapping[str, Any], where: str) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest("must be a string that is not empty", field=f"{where}.name", remedy="name the tensor")
    return name


def _datatype_of(tensor: Mapping[str, Any], where: str) -> str:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in NUMPY_DTYPES:
        raise InvalidRequest(
            f"unknown datatype {datatype!r}" if datatype is not None else "is missing",
            field=f"{where}.datatype",
            remedy=f"use one of {', '.join(NUMPY_DTYPES)}",
        )
    return datatype


def _shape_of(tensor: Mapping[str, Any], where: str) -> list[int]:
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > _MAX_RANK
        or any(type(extent) is not int or extent not in _INT64 for extent in shape)
    ):
        raise InvalidRequest(
            f"must be a list of at most {_MAX_RANK} integers of at least 0",
            field=f"{where}.shape",
            remedy="send the real extents, for example [1, 30]",
        )
    return shape


def data_of(tensor: Mapping[str, Any], datatype: str, shape: list[int], where: str) -> bytes:
    """The raw bytes of a tensor's member `data`. Raises InvalidRequest."""
    field_name = f"{where}.data"
    if "data" not in tensor:
        raise InvalidRequest(
            "is missing", field=field_name, remedy="send data, or parameters.binary_data_size and binary data"
        )
    values = flatten(tensor["data"], shape, field_name)
    return pack(values, datatype, lambda index: f"{field_name}[{index}]")


def _binary_of(tensor: Mapping[str, Any], size: Any, tail: memoryview, position: int, where: str) -> memoryview:
    field_name = f"{where}.parameters.binary_data_size"
    if type(size) is not int or size < 0:
        raise InvalidRequest("must be an integer of at least 0", field=field_name, remedy="send a length in bytes")
    if tensor.get("data") is not None:
        raise InvalidRequest("excludes data", field=field_name, remedy="send the tensor in one of the two forms")
    if position + size > len(tail):
        raise InvalidRequest(
            f"is {size}, but {len(tail) - position} bytes of binary data are left",
            field=field_name,
            remedy="send inference-header-content-length, and the tensors after the JSON in the order of inputs",
        )
    return tail[position : position + size]


def _read_outputs(outputs: object, request: inference_pb2.ModelInferRequest) -> dict[str, bool]:
    """Adds the outputs asked for to `request`; returns those that say in which form they are wanted."""
    if outputs is None:
        return {}
    if not isinstance(outputs, list):
        raise InvalidRequest("must be a list", field="outputs", remedy='send [{"name": ...}]')
    forms: dict[str, bool] = {}
    names = set()
    for index, value in enumerate(outputs):
        where = f"outputs[{index}]"
        output = mapping(value, where)
        name = _name_of(output, where)
        if name in names:
            raise InvalidRequest(f"{name!r} is there twice", field=f"{where}.name", remedy="ask for each output once")
        names.add(name)
        parameters = mapping(output.get("parameters"), f"{where}.parameters")
        binary = parameters.get("binary_data")
        if binary is not None:
            forms[name] = _flag(binary, f"{where}.parameters.binary_data")
        target = request.outputs.add(name=name).parameters
        write_parameters(_without(parameters, "binary_data"), target, f"{where}.parameters")
    return forms


def _flag(value: object, field_name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest("must be true or false", field=field_name, remedy="send a boolean")
    return value


def raw_message_of(
    body: bytes, signature: Signature, model: str, version: str, *, max_bytes: int
) -> tuple[bytes, Wanted]:
    """Inference-Header-Content-Length 0: the body is the single input, one row of it where the model is batched.
    Raises InvalidRequest where the model has several inputs, or the shape cannot be told from the length."""
    if len(signature.inputs) != 1:
        raise InvalidRequest(
            f"the model has {len(signature.inputs)} inputs, a body without JSON can hold one",
            field="inference-header-content-length",
            remedy="send the JSON part that names them",
        )
    tensor = signature.inputs[0]
    shape = [1] * signature.batched + _extents(tensor, len(body))
    raw = len(body).to_bytes(4, "little") + body if tensor.datatype == "BYTES" else body
    request = inference_pb2.ModelInferRequest(model_name=model, model_version=version)
    request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
    return assemble(request, [raw], max_bytes), _ALL_BINARY


def _extents(tensor: TensorSpec, size: int) -> list[int]:
    """The shape of one row; a single unknown extent follows from the length."""
    unknown = tensor.shape.count(-1)
    known = [extent for extent in tensor.shape if extent != -1]
    one_row = element_count(known, tensor.name)
    elements = 1 if tensor.datatype == "BYTES" else size // tensor.dtype.itemsize
    if unknown > 1 or (unknown == 1 and (one_row == 0 or elements % one_row)):
        raise InvalidRequest(
            f"shape {list(tensor.shape)} cannot be told from {size} bytes", field="body", remedy="send the JSON part"
        )
    return [elements // one_row if extent == -1 else extent for extent in tensor.shape]
