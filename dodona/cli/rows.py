"""Rows of a file as named columns, and answers as rows of a file: .csv, .json, .jsonl, .parquet."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import orjson
import pyarrow as pa

from dodona.cli.exits import UsageError
from serving.tensors import Array

KINDS: Final = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of equal length by name. `tensors`: an element is itself an array, so a column is an input."""

    columns: Mapping[str, Array]
    tensors: bool

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values())))

    def batches(self, rows: int) -> Iterator[dict[str, Array]]:
        for start in range(0, self.count, rows):
            yield {name: column[start : start + rows] for name, column in self.columns.items()}


def read_rows(path: Path) -> Rows:
    """Raises UsageError: no such file, an unknown kind, malformed, no rows."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"{path}: files of kind {kind or 'unknown'} are not read; use one of {', '.join(KINDS)}")
    if not path.is_file():
        raise UsageError(f"{path} cannot be read: no such file")
    try:
        columns = _from_json(path) if kind in (".json", ".jsonl") else _from_table(path, kind)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UsageError(f"{path} is malformed: {str(error).splitlines()[0]}") from None
    lengths = {len(column) for column in columns.values()}
    if lengths in (set(), {0}):
        raise UsageError(f"{path} has no rows")
    if len(lengths) > 1:
        raise UsageError(f"{path} has columns of {sorted(lengths)} rows; each needs one value a row")
    return Rows(columns, tensors=any(column.ndim > 1 for column in columns.values()))


def _from_table(path: Path, kind: str) -> dict[str, Array]:
    if kind == ".csv":
        from pyarrow import csv

        table = csv.read_csv(path)
        _check_separator(table)
    else:
        from pyarrow import parquet

        table = parquet.read_table(path)
    _check_names(table.column_names)
    return {name: _array(column.to_pylist() if _nested(column) else column) for name, column in _named(table)}


def _check_separator(table: Any) -> None:
    """A file with other separators is one wide column to a reader of commas."""
    if len(table.column_names) != 1 or not table.num_rows:
        return
    name, first = table.column_names[0], str(table.columns[0][0])
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in name and name.count(separator) == first.count(separator):
            raise ValueError(f"its values are separated by {called}; separate them by commas")


def _check_names(names: list[str]) -> None:
    for position, name in enumerate(names, start=1):
        if not name:
            raise ValueError(
                f"column {position} has no name; if it is the index that pandas writes, write it with index=False"
            )
        if names.index(name) != position - 1:
            raise ValueError(f"column {name!r} is there twice, as columns {names.index(name) + 1} and {position}")


def _named(table: Any) -> Iterator[tuple[str, Any]]:
    yield from zip(table.column_names, table.columns, strict=True)


def _nested(column: Any) -> bool:
    return bool(pa.types.is_list(column.type) or pa.types.is_large_list(column.type))


def _array(column: Any) -> Array:
    if isinstance(column, list):
        return np.asarray(column)
    return cast(Array, column.to_numpy())


def _from_json(path: Path) -> dict[str, Array]:
    """A list of records, one record a line, or a mapping of columns."""
    raw = path.read_bytes()
    if path.suffix.lower() == ".jsonl":
        lines = enumerate(raw.splitlines(), start=1)
        return _from_records([json_value(line, number) for number, line in lines if line.strip()])
    values = json_value(raw)
    if isinstance(values, list):
        return _from_records(values)
    if not isinstance(values, dict):
        raise ValueError("neither a list of records nor a mapping of columns")
    return {str(name): _column(value) for name, value in values.items()}


def json_value(raw: bytes | str, first_line: int = 1) -> Any:
    """Raises ValueError: not JSON, with line and column; or a key that is there twice, of which readers keep one."""
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        raise ValueError(f"not valid JSON: {error.msg} (line {line}, column {error.colno})") from None
    json.loads(raw, object_pairs_hook=lambda pairs: _check_keys(pairs, first_line))
    return values


def _check_keys(pairs: list[tuple[str, Any]], line: int) -> None:
    if len(dict(pairs)) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} is there twice in one object{f' (line {line})' if line > 1 else ''}")


def _from_records(records: list[Any]) -> dict[str, Array]:
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("a row is not a record {name: value}")
    names = list(records[0]) if records else []
    for number, record in enumerate(records, start=1):
        if set(record) != set(names):
            raise ValueError(f"record {number} has other names than the first")
    return {name: _column([record[name] for record in records]) for name in names}


def _column(values: Any) -> Array:
    """JSON has no dtypes: texts and mixtures stay objects, so that the client can name what does not fit."""
    if not isinstance(values, list):
        raise ValueError("a column is not a list")
    array = np.asarray(values)
    return np.asarray(values, dtype=object) if array.dtype.kind in "US" else array


def write_rows(path: Path, columns: Mapping[str, Array]) -> None:
    """Raises UsageError: an unknown kind, or the file cannot be written."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"--output {path}: files of kind {kind or 'unknown'} are not written; use {', '.join(KINDS)}")
    plain = {name: column.tolist() for name, column in columns.items()}
    try:
        if kind == ".json":
            path.write_bytes(orjson.dumps(records_of(plain), option=orjson.OPT_INDENT_2) + b"\n")
        elif kind == ".jsonl":
            path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records_of(plain)))
        elif kind == ".csv":
            from pyarrow import csv

            csv.write_csv(pa.table(plain), str(path))
        else:
            from pyarrow import parquet

            parquet.write_table(pa.table(plain), str(path))
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written: {error.strerror or error}") from None


def records_of(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def flat(outputs: Mapping[str, Array], names: Mapping[str, tuple[str, ...]]) -> dict[str, Array]:
    """Outputs as columns with one value a row: a vector output becomes as many columns, called after `names` (of its
    elements), else `output[i]`. BYTES become text."""
    columns: dict[str, Array] = {}
    for name, array in outputs.items():
        text = as_text(array)
        matrix = text.reshape(len(text), -1) if text.ndim else text.reshape(1, 1)
        if matrix.shape[1] == 1:
            columns[name] = matrix[:, 0]
            continue
        elements = names.get(name, ())
        for index in range(matrix.shape[1]):
            label = elements[index] if len(elements) == matrix.shape[1] else str(index)
            columns[f"{name}[{label}]"] = matrix[:, index]
    return columns


def as_text(array: Array) -> Array:
    """BYTES as text, anything else as it is."""
    if array.dtype != object:
        return array
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
