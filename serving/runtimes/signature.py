"""What the model file says against what model.yaml says: they must agree, and each adds what the other cannot know."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from serving.bundle.definition import ModelDefinition, TensorDefinition
from serving.errors import BundleError
from serving.spec import Signature, TensorSpec

Role = Literal["inputs", "outputs"]


def declared_signature(definition: ModelDefinition) -> Signature:
    """The signature of a model whose file says nothing about it. Raises BundleError if model.yaml is silent too."""
    for role in ("inputs", "outputs"):
        if not getattr(definition, role):
            raise BundleError(
                f"framework {definition.framework} cannot tell the {role} of a model",
                field=f"model.yaml.{role}",
                remedy="list them with name, datatype and shape",
            )
    return Signature(
        tuple(tensor.spec() for tensor in definition.inputs),
        tuple(tensor.spec() for tensor in definition.outputs),
        definition.batching.enabled,
    )


def reconcile(found: Sequence[TensorSpec], declared: Sequence[TensorDefinition], role: Role) -> tuple[TensorSpec, ...]:
    """The model's tensors with what model.yaml adds (columns, labels, allow_nan, extents the file leaves open).

    Inputs must be declared all or none; outputs may be a choice of those the model has. Raises BundleError naming the
    tensor, what the model says and what model.yaml says.
    """
    if not declared:
        return tuple(found)
    by_name = {tensor.name: tensor for tensor in found}
    for index, tensor in enumerate(declared):
        if tensor.name not in by_name:
            raise BundleError(
                f"{tensor.name!r} is not in the model, which has {', '.join(by_name)}",
                field=f"model.yaml.{role}[{index}].name",
                remedy="use the model's own names",
            )
    missing = by_name.keys() - {tensor.name for tensor in declared}
    if role == "inputs" and missing:
        raise BundleError(
            f"the model also needs {', '.join(sorted(missing))}",
            field="model.yaml.inputs",
            remedy="list every input, or none",
        )
    return tuple(
        _merge(by_name[tensor.name], _said(tensor, by_name[tensor.name]), f"model.yaml.{role}[{index}]")
        for index, tensor in enumerate(declared)
    )


def _said(tensor: TensorDefinition, found: TensorSpec) -> TensorSpec:
    """What model.yaml says of a tensor; a shape that it leaves out is the model's."""
    return tensor.spec() if "shape" in tensor.model_fields_set else replace(tensor.spec(), shape=found.shape)


def _merge(found: TensorSpec, declared: TensorSpec, field: str) -> TensorSpec:
    if declared.datatype != found.datatype:
        raise BundleError(
            f"{found.name!r} is {found.datatype} in the model, {declared.datatype} in model.yaml",
            field=f"{field}.datatype",
            remedy=f"write {found.datatype}",
        )
    shape = _meet(found.shape, declared.shape)
    if shape is None:
        raise BundleError(
            f"{found.name!r} has shape {list(found.shape)} in the model, {list(declared.shape)} in model.yaml",
            field=f"{field}.shape",
            remedy=f"write {list(found.shape)} (the batch dimension is left out)",
        )
    return replace(declared, shape=shape, columns=declared.columns or found.columns)


def _meet(found: Sequence[int], declared: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that satisfies both, -1 standing for any; None if there is none."""
    if len(found) != len(declared):
        return None
    if any(-1 not in (a, b) and a != b for a, b in zip(found, declared, strict=True)):
        return None
    return tuple(max(a, b) for a, b in zip(found, declared, strict=True))


def check_columns(tensors: Sequence[TensorSpec], role: Role) -> None:
    """Raises BundleError where `columns` or `labels` do not match the last dimension."""
    for tensor in tensors:
        for what, names in (("columns", tensor.columns), ("labels", tensor.labels)):
            extent = tensor.shape[-1] if tensor.shape else 1
            if names and extent not in (-1, len(names)) and not (what == "labels" and extent == 1):
                raise BundleError(
                    f"{tensor.name!r} has {extent} elements in its last dimension and {len(names)} {what}",
                    field=f"model.yaml.{role}.{what}",
                    remedy="give one name per element",
                )
