"""What of a file does not fit a model, said in the file's own words: its rows and columns, before anything is sent."""

from pathlib import Path
from typing import Final

from dodona.cli.exits import UsageError
from dodona.cli.rows import Rows
from dodona.client import Description
from serving.tensors import Array

# How tables spell a missing value; the fault lies with another cell, if there is one.
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "#n/a", "#na"})
_SHOWN: Final = 40


def refuse_misfits(rows: Rows, model: Description, path: Path) -> None:
    """Raises UsageError: numbers where the header should be, or a text in a column of numbers. All else is told by the
    client, which knows no file."""
    known = {name for tensor in model.inputs for name in (tensor.name, *tensor.columns)}
    if path.suffix.lower() == ".csv" and not known & rows.columns.keys() and all(map(_is_number, rows.columns)):
        names = next((tensor.columns or (tensor.name,) for tensor in model.inputs), ())
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise UsageError(f"{path} has no header: its first line holds numbers; put the names there: {shown}")
    for tensor in model.inputs:
        if tensor.datatype == "BYTES":
            continue
        for name in (tensor.name, *tensor.columns):
            if name in rows.columns:
                _refuse_text(rows.columns[name], name, path)


def _refuse_text(column: Array, name: str, path: Path) -> None:
    texts = [(row, cell) for row, cell in enumerate(column, start=1) if isinstance(cell, str)]
    if not texts:
        return
    real = (entry for entry in texts if entry[1].strip().lower() not in _MISSING and not _is_number(entry[1]))
    row, text = next(real, texts[0])
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    raise UsageError(f"{path}, row {row}, column {name!r}: {shown!r} is text where a number is expected")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
