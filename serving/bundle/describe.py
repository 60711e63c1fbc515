"""What `pack` writes into model.yaml: what it was told, on top of what is there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.bundle.definition import (
    Framework,
    ModelDefinition,
    TensorDefinition,
    read_definition,
)
from serving.bundle.layout import DEFINITION_FILE, TRITON_FILE
from serving.bundle.manifest import SignatureEntry
from serving.errors import BundleError
from serving.settings import validate
from serving.spec import Signature

Names = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The part of a model.yaml that a caller of `pack` may give; None and empty leave it as it is."""

    inputs: Sequence[TensorDefinition] = ()
    outputs: Sequence[TensorDefinition] = ()
    columns: Names = ()
    """Names of the elements of the input, or {input: names}."""
    labels: Names = ()
    """Names of the classes of the output, or {output: names}."""
    class_: str = ""
    description: str = ""
    owner: str = ""
    device: str = ""
    batched: bool | None = None
    max_batch_rows: int | None = None
    max_wait_s: float | None = None
    options: Mapping[str, Any] | None = None


def existing_definition(model_folder: Path) -> ModelDefinition | None:
    """The model.yaml that is there, None if there is none. Raises BundleError: it is wrong, or the folder is
    Triton's."""
    if (model_folder / DEFINITION_FILE).exists():
        return read_definition(model_folder / DEFINITION_FILE)
    if (model_folder / TRITON_FILE).exists():
        raise BundleError("is in Triton's layout", field=model_folder.name, remedy="publish under another name")
    return None


def described(name: str, framework: Framework, existing: ModelDefinition | None, given: Description) -> ModelDefinition:
    """The definition to serve with, before the model file has been asked. Raises BundleError: another framework, or a
    wrong value."""
    if existing is not None and existing.framework != framework:
        raise BundleError(
            f"is {existing.framework}, the model to pack is for {framework}",
            field=f"{DEFINITION_FILE}.framework",
            remedy="publish it under another name",
        )
    base: dict[str, Any] = {"name": name, "framework": framework}
    if existing is not None:
        base = existing.model_dump(by_alias=True, exclude_unset=True)
    plain = {"description": given.description, "owner": given.owner, "class": given.class_, "device": given.device}
    base |= {key: value for key, value in plain.items() if value}
    for role, tensors in (("inputs", given.inputs), ("outputs", given.outputs)):
        if tensors:
            base[role] = [tensor.model_dump(exclude_unset=True) for tensor in tensors]
    batching = {"enabled": given.batched, "max_batch_rows": given.max_batch_rows, "max_wait_s": given.max_wait_s}
    told = {key: value for key, value in batching.items() if value is not None}
    if told:
        base["batching"] = {**base.get("batching", {}), **told}
    if given.options is not None:
        base["options"] = dict(given.options)
    return validate(ModelDefinition, base, where=DEFINITION_FILE, error=BundleError)


def annotated(
    definition: ModelDefinition, signature: Signature, given: Description, no_nan: Collection[str] = ()
) -> ModelDefinition:
    """The definition with columns and labels written to the tensors they belong to, and the inputs `no_nan` as such
    that refuse a missing value. Raises BundleError if columns or labels belong to none."""
    entry = SignatureEntry.of(signature)
    changed: dict[str, Any] = {}
    if no_nan:
        changed["inputs"] = [_without_shape(tensor, no_nan) for tensor in entry.inputs]
    if given.columns:
        named = _named(entry.inputs, given.columns, "columns")
        changed["inputs"] = [tensor | ({"allow_nan": False} if tensor["name"] in no_nan else {}) for tensor in named]
    if given.labels:
        changed["outputs"] = _named(entry.outputs, given.labels, "labels")
    values = definition.model_dump(by_alias=True, exclude_unset=True) | changed
    return validate(ModelDefinition, values, where=DEFINITION_FILE, error=BundleError)


def _without_shape(tensor: TensorDefinition, no_nan: Collection[str]) -> dict[str, Any]:
    """The extents stay the model file's to say, so that the next version may have others."""
    said = {"name": tensor.name, "datatype": tensor.datatype}
    return said | ({"allow_nan": False} if tensor.name in no_nan else {})


def _named(tensors: Sequence[TensorDefinition], names: Names, what: str) -> list[dict[str, Any]]:
    chosen = names if isinstance(names, Mapping) else {_fitting(tensors, names, what): names}
    unknown = chosen.keys() - {tensor.name for tensor in tensors}
    if unknown:
        raise BundleError(
            f"there is no tensor {sorted(unknown)[0]}; there are {', '.join(tensor.name for tensor in tensors)}",
            field=what,
            remedy="use one of their names",
        )
    for tensor in tensors:
        given, extent = len(chosen.get(tensor.name, ())), tensor.shape[-1] if tensor.shape else 1
        if given and what == "columns" and extent not in (-1, given):
            raise BundleError(
                f"{given} columns for {extent} elements of {tensor.name}",
                field=what,
                remedy=f"the model takes {extent}",
            )
    plain = [tensor.model_dump(exclude_defaults=True) for tensor in tensors]
    return [tensor | ({what: tuple(chosen[tensor["name"]])} if tensor["name"] in chosen else {}) for tensor in plain]


def _fitting(tensors: Sequence[TensorDefinition], names: Sequence[str], what: str) -> str:
    """The only tensor, else the only one with as many elements as names."""
    fits = [tensor.name for tensor in tensors if tensor.shape[-1:] == (len(names),)]
    if len(tensors) == 1 or len(fits) == 1:
        return fits[0] if fits else tensors[0].name
    raise BundleError(
        f"{len(names)} {what} fit {' and '.join(fits) or 'no tensor'}", field=what, remedy="give {tensor: names}"
    )
