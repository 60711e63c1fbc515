"""The body of a v1 predict request to tensors: rows (`instances`) or columns (`inputs`), after TensorFlow Serving.

A row is a value (for a model with one input), or a record. A record names the inputs, or, for an input whose elements
have names (`TensorSpec.columns`), those. What is missing or unknown is named with its row: `instances[3].age`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from math import prod
from typing import Any

from router.edge.rest.elements import extents_of, flatten, pack
from serving.errors import InvalidRequest
from serving.spec import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    datatype: str
    shape: list[int]
    raw: bytes


def tensors_of(document: object, signature: Signature) -> tuple[list[Tensor], bool]:
    """The inputs, and whether they came as columns. Raises InvalidRequest."""
    if not isinstance(document, dict):
        raise InvalidRequest("must be a JSON object", field="body", remedy='send {"instances": [...]}')
    if document.get("signature_name") not in (None, "", "serving_default"):
        raise InvalidRequest(
            f"unknown signature {document['signature_name']!r}", field="signature_name", remedy="leave it out"
        )
    if ("instances" in document) == ("inputs" in document):
        raise InvalidRequest(
            "must have exactly one of instances and inputs", field="body", remedy='send {"instances": [...]}'
        )
    if "inputs" in document:
        return _from_columns(document["inputs"], signature), True
    rows = document["instances"]
    if not isinstance(rows, list) or not rows:
        raise InvalidRequest("must be a list of at least one row", field="instances", remedy="send [[...], ...]")
    return _from_rows(rows, signature), False


def _from_rows(rows: list[Any], signature: Signature) -> list[Tensor]:
    if isinstance(rows[0], dict) and not _is_encoded(rows[0], signature):
        return _from_records(rows, signature)
    tensor = _only_input(signature, "instances[0]")
    return [_stacked(rows, tensor, signature, lambda row: f"instances[{row}]")]


def _is_encoded(row: Mapping[str, Any], signature: Signature) -> bool:
    """Whether a row is TensorFlow Serving's {"b64": ...}, a value and not a record."""
    inputs = signature.inputs
    return list(row) == ["b64"] and len(inputs) == 1 and inputs[0].datatype == "BYTES" and inputs[0].name != "b64"


def _only_input(signature: Signature, field: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise InvalidRequest(
            f"must name its values, the model has {len(signature.inputs)} inputs",
            field=field,
            remedy=f"send an object with {names}",
        )
    return signature.inputs[0]


def _from_records(rows: list[Any], signature: Signature) -> list[Tensor]:
    first = rows[0]
    by_columns = [tensor for tensor in signature.inputs if tensor.columns and tensor.name not in first]
    by_name = [tensor for tensor in signature.inputs if tensor not in by_columns]
    expected = [tensor.name for tensor in by_name] + [column for tensor in by_columns for column in tensor.columns]
    for index, row in enumerate(rows):
        _check_names(row, expected, f"instances[{index}]")
    tensors = [
        _stacked([row[tensor.name] for row in rows], tensor, signature, _named("instances", tensor.name))
        for tensor in by_name
    ]
    tensors += [
        _gathered([[row[name] for name in tensor.columns] for row in rows], tensor, "instances[{row}].{name}")
        for tensor in by_columns
    ]
    return sorted(tensors, key=lambda tensor: [spec.name for spec in signature.inputs].index(tensor.name))


def _named(form: str, name: str) -> Callable[[int], str]:
    return lambda row: f"{form}[{row}].{name}"


def _check_names(row: object, expected: Sequence[str], field: str) -> None:
    if not isinstance(row, dict):
        raise InvalidRequest("must be an object like the first row", field=field, remedy="send one form only")
    if len(row) == len(expected) and all(name in row for name in expected):
        return
    unknown = next((name for name in row if name not in expected), None)
    if unknown is not None:
        near = get_close_matches(unknown, expected, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(expected[:20])}"
        raise InvalidRequest("unknown feature", field=f"{field}.{unknown}", remedy=remedy)
    missing = next(name for name in expected if name not in row)
    raise InvalidRequest("is missing", field=f"{field}.{missing}", remedy="send a value, or null where it is unknown")


def _from_columns(inputs: object, signature: Signature) -> list[Tensor]:
    if not isinstance(inputs, dict) or _is_encoded(inputs, signature):
        tensor = _only_input(signature, "inputs")
        return [_whole(inputs, tensor, signature, "inputs")]
    by_columns = [tensor for tensor in signature.inputs if tensor.columns and tensor.name not in inputs]
    expected = list(
        chain.from_iterable(tensor.columns if tensor in by_columns else (tensor.name,) for tensor in signature.inputs)
    )
    _check_names(inputs, expected, "inputs")
    return [
        _gathered(_transposed(inputs, tensor.columns), tensor, "inputs.{name}[{row}]")
        if tensor in by_columns
        else _whole(inputs[tensor.name], tensor, signature, f"inputs.{tensor.name}")
        for tensor in signature.inputs
    ]


def _transposed(inputs: Mapping[str, Any], names: Sequence[str]) -> list[list[Any]]:
    columns = [inputs[name] for name in names]
    for name, column in zip(names, columns, strict=True):
        if not isinstance(column, list) or len(column) != len(columns[0]):
            raise InvalidRequest(
                "must be a list as long as the other columns", field=f"inputs.{name}", remedy="send a value per row"
            )
    return [list(row) for row in zip(*columns, strict=True)]


def _gathered(rows: list[list[Any]], tensor: TensorSpec, field: str) -> Tensor:
    """Rows of named elements; the last extent is theirs, those before it are 1. `field` names {row} and {name}."""
    names = tensor.columns
    values = list(chain.from_iterable(rows))
    shape = [len(rows), *([1] * (len(tensor.shape) - 1)), len(names)]

    def name_of(index: int) -> str:
        return field.format(row=index // len(names), name=names[index % len(names)])

    return _packed(tensor, shape, values, name_of)


def _stacked(rows: list[Any], tensor: TensorSpec, signature: Signature, name_of: Callable[[int], str]) -> Tensor:
    """One tensor of the rows' values, the first extent being the rows."""
    expected = signature.wire_shape(tensor)[1:]
    if not signature.wire_shape(tensor):
        raise InvalidRequest(f"{tensor} has no rows", field="instances", remedy='send {"inputs": ...}')
    shape = _resolved(rows[0], expected, name_of(0))
    values = list(chain.from_iterable(flatten(row, shape, name_of(index)) for index, row in enumerate(rows)))
    size = prod(shape)

    def name_of_element(index: int) -> str:
        return name_of(index // size) + (f"[{index % size}]" if size > 1 else "")

    return _packed(tensor, [len(rows), *shape], values, name_of_element)


def _whole(values: Any, tensor: TensorSpec, signature: Signature, field: str) -> Tensor:
    shape = _resolved(values, signature.wire_shape(tensor), field)
    return _packed(tensor, shape, flatten(values, shape, field), lambda index: f"{field}[{index}]")


def _resolved(values: Any, expected: Iterable[int], field: str) -> list[int]:
    """The shape that `values` have, given the signature's with its -1. Flat values fill one unknown extent."""
    wanted = list(expected)
    extents = extents_of(values)
    if len(extents) == len(wanted):
        return extents
    known = prod(extent for extent in wanted if extent != -1)
    unknown = wanted.count(-1)
    if unknown == 0:
        return wanted
    if unknown > 1 or known == 0 or prod(extents) % known:
        raise InvalidRequest(
            f"is nested as {extents}, the model takes {wanted}", field=field, remedy="nest the values like the shape"
        )
    return [prod(extents) // known if extent == -1 else extent for extent in wanted]


def _packed(tensor: TensorSpec, shape: list[int], values: list[Any], name_of: Callable[[int], str]) -> Tensor:
    if not tensor.allow_nan and None in values:
        raise InvalidRequest("null is refused here", field=name_of(values.index(None)), remedy="send a number")
    return Tensor(tensor.name, tensor.datatype, shape, pack(values, tensor.datatype, name_of))
