"""Golden examples from what a caller of `pack` has: an array, a frame or a mapping, cast to the model's datatypes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle.compare import compare
from serving.bundle.golden import Golden, Tolerance
from serving.bundle.sources.frames import is_frame
from serving.errors import BundleError
from serving.spec import Signature, TensorSpec

Array = NDArray[Any]


def columns_of(examples: Any, signature: Signature) -> tuple[str, ...]:
    """A frame's column names, where the model takes the frame as one tensor."""
    if not is_frame(examples) or len(signature.inputs) != 1 or len(examples.columns) < 2:
        return ()
    return tuple(str(name) for name in examples.columns)


def input_arrays(examples: Any, signature: Signature) -> dict[str, Array]:
    """One array per input, examples first. Raises BundleError: an input is missing, values do not fit, no examples,
    or not as many for every input."""
    arrays = _by_input(examples, signature)
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise BundleError(
            f"need examples, as many for every input; got {counts}",
            field="golden_inputs",
            remedy="give arrays whose first dimension is the example",
        )
    return arrays


def _by_input(examples: Any, signature: Signature) -> dict[str, Array]:
    single = signature.inputs[0] if len(signature.inputs) == 1 else None
    if single is not None and not isinstance(examples, Mapping):
        return {single.name: _cast(examples.to_numpy() if is_frame(examples) else examples, single)}
    names = {tensor.name for tensor in signature.inputs}
    given = set(map(str, examples.columns)) if is_frame(examples) else set()
    given |= set(examples) if isinstance(examples, Mapping) else set()
    if names != given:
        raise BundleError(
            f"has {sorted(given)}, the model takes {sorted(names)}",
            field="golden_inputs",
            remedy="give {input: array} with every input",
        )
    return {tensor.name: _column(examples[tensor.name], tensor) for tensor in signature.inputs}


def _column(values: Any, tensor: TensorSpec) -> Array:
    array = np.asarray(values)
    if tensor.shape == (1,) and array.ndim == 1:
        array = array[:, None]
    return _cast(array, tensor)


def _cast(values: Any, tensor: TensorSpec) -> Array:
    """Numbers become the tensor's dtype if nothing but precision is lost; texts become bytes."""
    try:
        array = np.asarray(values)
        if tensor.dtype.kind == "O":
            texts = np.empty(array.size, dtype=object)
            texts[:] = [value if isinstance(value, bytes) else str(value).encode() for value in array.ravel().tolist()]
            return texts.reshape(array.shape)
        cast = np.ascontiguousarray(array, dtype=tensor.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BundleError(
            f"{tensor.name} needs {tensor.datatype}: {error}", field="golden_inputs", remedy="give such values"
        ) from None
    if tensor.dtype.kind in "biu" and not np.array_equal(cast, array):
        raise BundleError(
            f"{tensor.name} is {tensor.datatype}, which cannot hold all of the values given",
            field="golden_inputs",
            remedy="give values that fit",
        )
    return cast


def tolerances(given: Tolerance | Mapping[str, Tolerance] | None, signature: Signature) -> dict[str, Tolerance]:
    """By output. Raises BundleError for one that the model does not have."""
    outputs = [tensor.name for tensor in signature.outputs]
    if given is None:
        return {}
    if isinstance(given, Tolerance):
        return {name: given for name in outputs if signature_dtype(signature, name).kind not in "Ob"}
    unknown = given.keys() - set(outputs)
    if unknown:
        raise BundleError(
            f"the model has no output {sorted(unknown)[0]}", field="tolerance", remedy=f"use {', '.join(outputs)}"
        )
    return dict(given)


def signature_dtype(signature: Signature, output: str) -> np.dtype[Any]:
    return next(tensor.dtype for tensor in signature.outputs if tensor.name == output)


def check_live(golden: Golden, live: Mapping[str, Array]) -> None:
    """The served outputs against what the model in memory answers. Raises BundleError naming the first difference."""
    names = {"": next(iter(golden.expected))} if "" in live else {name: name for name in live}
    expected = {}
    for name, output in names.items():
        served = golden.expected.get(output)
        if served is not None and served.size == live[name].size:
            expected[output] = _like(live[name], served)
    kept = {name: golden.tolerance_of(name) for name in expected}
    try:
        compare(Golden(golden.inputs, expected, kept, golden.datatypes), golden.expected)
    except BundleError as error:
        raise BundleError(
            f"the packed model answers differently from the one in memory: {error.message}",
            field="model",
            remedy="give a tolerance if the difference is acceptable",
        ) from None


def _like(live: Array, served: Array) -> Array:
    if served.dtype.kind == "O":
        return live.astype(object).reshape(served.shape)
    return live.astype(served.dtype).reshape(served.shape)
