"""What `dodona predict` does: read, ask, show."""

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.markup import escape
from rich.progress import track

from dodona.cli.exits import UsageError
from dodona.cli.misfits import refuse_misfits
from dodona.cli.rows import as_text, flat, json_value, read_rows, records_of, write_rows
from dodona.cli.show import console, number, print_json, print_table, span
from dodona.client import Client, Description, Prediction
from serving.errors import Unimplemented
from serving.tensors import Array

_SHOWN_ROWS: Final = 20
_SHOWN_COLUMNS: Final = 12
_FALLBACK_BATCH_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers go: a file, a table for people, or JSON."""

    table: bool
    output: Path | None


def parse_json(text: str) -> Any:
    """Raises UsageError pointing at the fault."""
    if text == "-":
        text = sys.stdin.read()
    try:
        return json_value(text)
    except ValueError as error:
        raise UsageError(f"--json: {error}") from None


def predict_one(client: Client, model: str, inputs: Any, version: str, answers: Answers) -> None:
    prediction = client.predict(model, inputs, version=version)
    if not answers.table:
        print_json(
            {
                "model": prediction.model,
                "version": prediction.version,
                "request_id": prediction.request_id,
                "elapsed_s": prediction.elapsed_s,
                "outputs": {name: as_text(array).tolist() for name, array in prediction.outputs.items()},
            }
        )
        return
    description = client.metadata(model, prediction.version)
    out = console()
    _print_columns(flat(prediction.outputs, element_names(description)))
    name = escape(f"{prediction.model}/{prediction.version}")
    out.print(f"[dim]{name} answered in {prediction.elapsed_s * 1e3:.1f} ms, request {prediction.request_id}[/]")


def predict_file(
    client: Client,
    model: str,
    file: Path,
    version: str,
    answers: Answers,
    *,
    keep_inputs: bool,
    batch_rows: int,
    in_flight: int,
) -> None:
    """All rows are answered before anything is written, so that a failure leaves no half a file."""
    if answers.output is not None and answers.output.resolve() == file.resolve():
        raise UsageError(f"--output {answers.output} is the file that --file reads; name another")
    rows = read_rows(file)
    refuse_misfits(rows, client.metadata(model, version), file)
    began = time.monotonic()
    size = batch_rows or _batch_rows(client, model, version)
    batches = -(-rows.count // size)
    answered = client.predict_many(model, rows.batches(size), in_flight=in_flight, version=version)
    predictions = list(_progress(answered, batches, f"{rows.count} rows"))
    took_s = time.monotonic() - began
    versions = sorted({prediction.version for prediction in predictions})
    outputs = {
        name: np.concatenate([prediction.outputs[name] for prediction in predictions])
        for name in predictions[0].outputs
    }
    columns = flat(outputs, element_names(client.metadata(model, versions[-1])))
    if keep_inputs:
        columns = {**flat(dict(rows.columns), {}), **columns}
    if answers.output is not None:
        write_rows(answers.output, columns)
    elif answers.table:
        _print_columns(columns)
    else:
        plain = {name: column.tolist() for name, column in columns.items()}
        print_json({"model": model, "versions": versions, "rows": records_of(plain)})
    if answers.output is not None or answers.table:
        where = f" to {answers.output}" if answers.output else ""
        text = f"{_counted(rows.count, 'row')} in {_counted(len(predictions), 'request')}{where}, {span(took_s)}, "
        console(error=True).print(escape(f"{text}{model} {', '.join(versions)}"), style="dim")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def element_names(description: Description) -> Mapping[str, tuple[str, ...]]:
    """Names of the elements of vector outputs, where the model gives them."""
    return {tensor.name: tensor.labels or tensor.columns for tensor in description.outputs}


def _batch_rows(client: Client, model: str, version: str) -> int:
    try:
        return client.config(model, version).max_batch_size or 1
    except Unimplemented:
        return _FALLBACK_BATCH_ROWS


def _progress(answered: Iterable[Prediction], batches: int, text: str) -> Iterable[Prediction]:
    """A bar on standard error if a person watches and there is more than one request."""
    if batches < 2 or not sys.stderr.isatty():
        return answered
    return track(answered, description=text, total=batches, console=console(error=True), transient=True)


def _print_columns(columns: Mapping[str, Array]) -> None:
    names = list(columns)[:_SHOWN_COLUMNS]
    rows = list(zip(*(columns[name] for name in names), strict=True))
    heads = [escape(name) for name in names]
    shown = print_table(
        heads, [[escape(number(value)) for value in row] for row in rows[:_SHOWN_ROWS]], sheds=heads[:0:-1]
    )
    left_rows, left_columns = len(rows) - _SHOWN_ROWS, len(columns) - shown
    if left_rows > 0 or left_columns > 0:
        more = [f"{left} more {what}" for left, what in ((left_rows, "rows"), (left_columns, "columns")) if left > 0]
        console().print(f"[dim]... {' and '.join(more)}; --output FILE writes all[/]")
