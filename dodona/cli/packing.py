"""From the options of `dodona pack` to a call of `serving.bundle.pack.pack`."""

from pathlib import Path
from typing import Any, get_args

import numpy as np

from dodona.cli.exits import UsageError
from dodona.cli.rows import read_rows
from serving.bundle.definition import Framework, is_name, read_definition
from serving.bundle.pack import pack
from serving.bundle.packing import Packed
from serving.errors import BundleError


def pack_file(
    model: Path | None,
    *,
    name: str,
    repository: Path,
    version: str | None,
    framework: str | None,
    class_: str,
    definition: Path | None,
    golden: Path | None,
    golden_rows: int,
    description: str,
    owner: str,
) -> Packed:
    """Raises UsageError, BundleError."""
    if model is not None and not model.exists():
        raise UsageError(f"{model} does not exist; name the model file or folder to pack")
    known = get_args(Framework)
    if framework is not None and framework not in known:
        raise UsageError(f"--framework {framework} is unknown; use one of {', '.join(known)}")
    given: dict[str, Any] = {"framework": framework, "class_": class_, "description": description, "owner": owner}
    if definition is not None:
        given = _from_definition(definition, given)
    if model is None and given["framework"] not in ("echo", None):
        raise UsageError("a file to pack is missing; name it as the first argument")
    if model is None:
        given["framework"] = "echo"
    examples, columns = _examples(golden) if golden is not None else (None, ())
    if not is_name(name):
        raise UsageError(f"--name {name!r} cannot be used; letters, digits, dot, dash and underscore can, 128 at most")
    try:
        return pack(
            model,
            name=name,
            repository=repository,
            version=version,
            golden_inputs=examples,
            columns=columns,
            golden_rows=golden_rows,
            **given,
        )
    except BundleError as error:
        if error.field != "columns":
            raise
        raise UsageError(f"--golden {golden} does not fit the model: {error.message}; {error.remedy}") from None


def _examples(path: Path) -> tuple[Any, tuple[str, ...]]:
    """What `pack` takes as golden inputs: {input: array} where the file holds a tensor a row, else a matrix of its
    columns and their names."""
    rows = read_rows(path)
    if rows.tensors:
        return dict(rows.columns), ()
    try:
        matrix = np.column_stack([column.astype(np.float64) for column in rows.columns.values()])
    except (TypeError, ValueError):
        raise UsageError(
            f"{path} has a column that is not a number; give the examples as JSON, {{input name: [values, ...]}}"
        ) from None
    return matrix, tuple(rows.columns)


def _from_definition(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What the command line leaves open is taken from a model.yaml."""
    defined = read_definition(path)
    batching = defined.batching
    return {
        "framework": given["framework"] or defined.framework,
        "class_": given["class_"] or defined.class_,
        "description": given["description"] or defined.description,
        "owner": given["owner"] or defined.owner,
        "inputs": defined.inputs,
        "outputs": defined.outputs,
        "device": defined.device if defined.device != "auto" else "",
        "batched": batching.enabled if "enabled" in batching.model_fields_set else None,
        "max_batch_rows": batching.max_batch_rows if "max_batch_rows" in batching.model_fields_set else None,
        "max_wait_s": batching.max_wait_s if "max_wait_s" in batching.model_fields_set else None,
        "options": defined.options or None,
    }
