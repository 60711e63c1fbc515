"""From what callers have in hand to named tensors: arrays, records, data frames.

Four forms are taken, told apart by type and keys alone:

* a mapping from input names to array-likes;
* a mapping whose keys are column names of an input (`TensorSpec.columns`): one record where the values are scalars,
  a table where they are sequences of one length; input and column names may be mixed;
* a list of records, each a mapping as above with one row's values;
* anything else is the one input of a model that has one. A data frame (whatever has `columns` and gives arrays by
  name, so pandas and polars without importing either) is a table, or the one input if the model names no columns.

Nothing is dropped or filled in: a name the model does not know and a column that is missing are errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import numpy as np

from dodona.client.description import Description
from dodona.client.fitting import as_dtype, as_shape
from serving.errors import InvalidRequest
from serving.spec import TensorSpec, datatype_of
from serving.tensors import Array

_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    datatype: str
    array: Array


@dataclass(frozen=True, slots=True)
class Tensors:
    """The inputs of one request. `positional` where values were put in place by what the server said about columns or
    the one input, so that a changed model could misread them."""

    tensors: tuple[Tensor, ...]
    positional: bool


def tensors_from(inputs: Any, model: Description) -> Tensors:
    """Raises InvalidRequest naming the input or column and what the model takes."""
    if _is_records(inputs):
        return _from_table(_transposed(inputs), model, rows=len(inputs))
    if _is_frame(inputs):
        return _from_frame(inputs, model)
    if isinstance(inputs, Mapping):
        return _from_mapping(inputs, model)
    return _single(inputs, model)


def _from_mapping(inputs: Mapping[Any, Any], model: Description) -> Tensors:
    if not inputs:
        raise InvalidRequest("no inputs", field="inputs", remedy=_takes(model))
    if not model.inputs:
        return Tensors(tuple(_as_given(str(name), value) for name, value in inputs.items()), positional=False)
    if _names_inputs(inputs, model):
        return Tensors(tuple(_fitted(inputs[t.name], t, model) for t in model.inputs if t.name in inputs), False)
    return _from_table(inputs, model, rows=None)


def _from_frame(frame: Any, model: Description) -> Tensors:
    table = {str(name): np.asarray(frame[name]) for name in frame.columns}
    if not any(tensor.columns for tensor in model.inputs) and not _names_inputs(table, model):
        return _single(frame.to_numpy(), model)
    return _from_table(table, model, rows=len(frame))


def _is_records(inputs: Any) -> bool:
    return isinstance(inputs, list | tuple) and bool(inputs) and all(isinstance(row, Mapping) for row in inputs)


def _is_frame(inputs: Any) -> bool:
    return hasattr(inputs, "columns") and hasattr(inputs, "to_numpy") and hasattr(inputs, "__getitem__")


def _names_inputs(names: Mapping[str, Any], model: Description) -> bool:
    known = {tensor.name for tensor in model.inputs}
    return all(name in known for name in names)


def _transposed(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Records to columns. Raises InvalidRequest naming the first record that differs from the first."""
    names = list(records[0])
    for position, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = sorted(map(str, record.keys() ^ records[0].keys()))
            raise InvalidRequest(
                f"has not the same names as the first record: {', '.join(odd[:_SHOWN])}",
                field=f"inputs[{position}]",
                remedy="send the same names in every record",
            )
    return {name: [record[name] for record in records] for name in names}


def _single(value: Any, model: Description) -> Tensors:
    if isinstance(value, list | tuple) and not value and model.signature.batched:
        raise InvalidRequest("there are no rows", field="inputs", remedy=_takes(model))
    if len(model.inputs) != 1:
        raise InvalidRequest(
            f"one array given, but {model.name} has {len(model.inputs)} inputs", field="inputs", remedy=_takes(model)
        )
    return Tensors((_fitted(value, model.inputs[0], model),), positional=True)


def _fitted(value: Any, tensor: TensorSpec, model: Description, rows: int | None = None) -> Tensor:
    """`rows`, where known, is how many the array must have."""
    field = f"inputs.{tensor.name}"
    array = as_dtype(value, tensor, field)
    signature = model.signature
    shaped = as_shape(array, signature.wire_shape(tensor), batched=signature.batched, rows=rows, field=field)
    return Tensor(tensor.name, tensor.datatype, shaped)


def _as_given(name: str, value: Any) -> Tensor:
    """For a model that names no inputs of its own (it takes what comes): the array's dtype decides."""
    array = np.atleast_1d(np.asarray(value))
    try:
        return Tensor(name, datatype_of(array.dtype), array)
    except ValueError as error:
        raise InvalidRequest(str(error), field=f"inputs.{name}", remedy="convert it first") from None


def _from_table(table: Mapping[str, Any], model: Description, rows: int | None) -> Tensors:
    """`rows` is None where values may be scalars (one record)."""
    used = {tensor.name for tensor in model.inputs if tensor.name in table}
    tensors = []
    for tensor in model.inputs:
        if tensor.name in table:
            tensors.append(_fitted(table[tensor.name], tensor, model, rows))
        elif tensor.columns:
            tensors.append(_gathered(table, tensor, model, rows))
            used.update(tensor.columns)
    for name in table:
        if name not in used:
            raise InvalidRequest(
                f"{model.name} has no input or column of this name", field=f"inputs.{name}", remedy=_hint(name, model)
            )
    return Tensors(tuple(tensors), positional=True)


def _gathered(table: Mapping[str, Any], tensor: TensorSpec, model: Description, rows: int | None) -> Tensor:
    """The columns of one input, side by side, in the model's order."""
    missing = [name for name in tensor.columns if name not in table]
    if missing:
        unknown = next((name for name in table if name not in _known_names(model)), None)
        raise InvalidRequest(
            f"missing: {', '.join(missing[:_SHOWN])}{' ...' if len(missing) > _SHOWN else ''}",
            field=f"inputs.{tensor.name}",
            remedy=f"{unknown!r} is unknown{_guess(unknown, model)}" if unknown else "send every column",
        )
    values = [table[name] for name in tensor.columns]
    try:
        # All at once is ten times as fast; what does not go together so is looked at column by column, to name it.
        array = as_dtype(values, tensor, f"inputs.{tensor.name}")
    except InvalidRequest:
        array = _side_by_side(table, tensor, rows)
    if array.ndim == 1 and rows is None:
        return _fitted(array.reshape(1, -1), tensor, model)
    return _fitted(array.T if array.ndim == 2 else _side_by_side(table, tensor, rows).T, tensor, model)


def _side_by_side(table: Mapping[str, Any], tensor: TensorSpec, rows: int | None) -> Array:
    """[columns, rows]. Raises InvalidRequest naming the column."""
    columns = [_column(table[name], name, tensor, rows) for name in tensor.columns]
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise InvalidRequest(
            f"columns of {sorted(lengths)} rows", field=f"inputs.{tensor.name}", remedy="send one value a row in each"
        )
    return np.stack(columns)


def _column(value: Any, name: str, tensor: TensorSpec, rows: int | None) -> Array:
    array = as_dtype(value, tensor, f"inputs.{name}")
    if array.ndim == 0 and rows is None:
        return array.reshape(1)
    if array.ndim != 1:
        raise InvalidRequest(
            f"has shape {list(array.shape)}",
            field=f"inputs.{name}",
            remedy="a column takes one value a row",
        )
    return array


def _known_names(model: Description) -> list[str]:
    return [name for tensor in model.inputs for name in (tensor.name, *tensor.columns)]


def _hint(name: str, model: Description) -> str:
    return _guess(name, model).removeprefix(", ") or _takes(model)


def _guess(name: str, model: Description) -> str:
    """What may have been meant, after a comma; empty if nothing is near."""
    known = {candidate.lower(): candidate for candidate in _known_names(model)}
    close = get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    return f", did you mean {known[close[0]]!r}?" if close else ""


def _takes(model: Description) -> str:
    inputs = [
        f"{tensor} (columns {', '.join(tensor.columns[:_SHOWN])}{' ...' if len(tensor.columns) > _SHOWN else ''})"
        if tensor.columns
        else str(tensor)
        for tensor in model.inputs
    ]
    return f"{model.name} takes {'; '.join(inputs) or 'named arrays'}"
