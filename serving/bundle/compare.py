"""What a model gives against what its golden examples expect."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.bundle.bundle import Bundle
from serving.bundle.golden import Golden, Tolerance, read_golden
from serving.bundle.layout import GOLDEN_FILE
from serving.errors import BundleError
from serving.spec import Signature
from serving.tensors import shape_matches

Array = NDArray[Any]


class Predicts(Protocol):
    def predict(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...


def check_golden(bundle: Bundle, runtime: Predicts, signature: Signature) -> int:
    """Runs a loaded bundle's golden examples, if it has any, and returns how many there are. Raises BundleError naming
    the first row and output out of tolerance, or saying that the model raised."""
    golden = read_golden(bundle.folder)
    if golden is None:
        return 0
    try:
        outputs = run_golden(runtime, signature, golden, bundle.definition.batching.max_batch_rows)
    except BundleError:
        raise
    except Exception as error:  # a model may raise anything
        raise _differs(f"the model raised {type(error).__name__}: {error}") from error
    compare(golden, outputs)
    return golden.rows


def run_golden(runtime: Predicts, signature: Signature, golden: Golden, max_batch_rows: int) -> dict[str, Array]:
    """The outputs for the golden inputs, examples first. Batched models run up to `max_batch_rows` examples at once,
    others one by one. Raises BundleError if an input is not in the signature or not of its datatype and shape, and
    whatever the runtime raises."""
    _check_inputs(signature, golden)
    step = max_batch_rows if signature.batched else 1
    parts: list[Mapping[str, Array]] = []
    for start in range(0, golden.rows, step):
        window = {name: np.ascontiguousarray(array[start : start + step]) for name, array in golden.inputs.items()}
        if signature.batched:
            parts.append({name: np.array(array) for name, array in runtime.predict(window).items()})
        else:
            alone = runtime.predict({name: array[0] for name, array in window.items()})
            parts.append({name: np.array(array)[None] for name, array in alone.items()})
    return {name: _join([part[name] for part in parts], name) for name in parts[0]}


def _join(parts: list[Array], name: str) -> Array:
    try:
        return np.concatenate(parts)
    except ValueError as error:
        raise BundleError(
            f"output {name} has different shapes for different examples", field=GOLDEN_FILE, remedy="use examples alike"
        ) from error


def _check_inputs(signature: Signature, golden: Golden) -> None:
    wanted = {tensor.name: tensor for tensor in signature.inputs}
    if wanted.keys() != golden.inputs.keys():
        raise BundleError(
            f"has inputs {sorted(golden.inputs)}, the model takes {sorted(wanted)}",
            field=GOLDEN_FILE,
            remedy="give one array per input of the model",
        )
    for name, array in golden.inputs.items():
        tensor, datatype = wanted[name], golden.datatype(name, array)
        if datatype != tensor.datatype or not shape_matches(array.shape[1:], tensor.shape):
            raise BundleError(
                f"input {name} is {datatype}{list(array.shape[1:])} per example, the model takes {tensor}",
                field=GOLDEN_FILE,
                remedy="give examples of that datatype and shape",
            )


def compare(golden: Golden, outputs: Mapping[str, Array]) -> None:
    """Raises BundleError for the first value out of tolerance, naming row, output, expected, got and tolerance; for a
    missing output, a different dtype or shape. NaN equals NaN. Outputs that are not expected are not looked at."""
    for name, expected in golden.expected.items():
        if name not in outputs:
            raise _differs(f"the model has no output {name}; it has {', '.join(outputs)}")
        got = np.asarray(outputs[name])
        if got.shape != expected.shape:
            raise _differs(f"output {name} has shape {list(got.shape)}, expected {list(expected.shape)}")
        if expected.dtype.kind not in "OSU" and got.dtype != expected.dtype:
            raise _differs(f"output {name} is {got.dtype}, expected {expected.dtype}")
        _compare_values(name, expected, got, golden.datatype(name, expected), golden.tolerance_of(name))


def _compare_values(name: str, expected: Array, got: Array, datatype: str, tolerance: Tolerance) -> None:
    wanted, given = _comparable(expected, datatype), _comparable(got, datatype)
    if wanted.dtype.kind == "f":
        close = np.isclose(given, wanted, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True)
    elif wanted.dtype.kind in "biu" and (tolerance.atol or tolerance.rtol):
        away = np.abs(given.astype(np.float64) - wanted.astype(np.float64))
        close = away <= tolerance.atol + tolerance.rtol * np.abs(wanted.astype(np.float64))
    else:
        close = np.asarray(given == wanted)
    if close.all():
        return
    place = tuple(int(index) for index in np.argwhere(~close)[0])
    wrong_rows = len({int(row) for row in np.argwhere(~close)[:, 0]})
    element = "".join(f"[{index}]" for index in place[1:])
    raise _differs(
        f"row {place[0]}: output {name}{element} is {_shown(given[place])}, expected {_shown(wanted[place])}"
        f" (tolerance {tolerance}); {wrong_rows} of {len(wanted)} rows differ"
    )


def _comparable(array: Array, datatype: str) -> Array:
    """Values as they are meant: BF16 patterns and FP16 as numbers, texts as bytes."""
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if datatype == "FP16":
        return array.astype(np.float32)
    if datatype == "BYTES":
        flat = [value if isinstance(value, bytes) else str(value).encode() for value in array.ravel().tolist()]
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        return texts.reshape(array.shape)
    return array


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, bytes) else f"{value:.9g}" if isinstance(value, np.floating) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _differs(message: str) -> BundleError:
    return BundleError(
        message, field=GOLDEN_FILE, remedy="check the library versions in MANIFEST.json, or publish again"
    )
