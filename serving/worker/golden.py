"""Before a version is announced: its golden examples, and first runs so that no caller pays for them."""

import logging
from collections.abc import Callable
from math import prod
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.bundle import Bundle
from serving.bundle.compare import compare, run_golden
from serving.bundle.golden import Golden, read_golden
from serving.errors import BundleError, DodonaError
from serving.policy.cost import RunCost
from serving.worker.assemble import zeros
from serving.worker.predictor import Predictor

log = logging.getLogger(__name__)

_MAX_WARM_UP_BYTES: Final = 64 * 1024 * 1024
_SLOW_RUN_S: Final = 1.0

Inputs = dict[str, NDArray[Any]]


class GoldenFailure(BundleError):
    """The version gives other answers than its golden examples expect, or none."""


def prove(predictor: Predictor, bundle: Bundle) -> RunCost:
    """Run the bundle's golden examples, then warm the predictor up. Returns what its runs cost once warm.

    Raises GoldenFailure saying which row, output, expected and got; BundleError if the outputs are not as announced.
    """
    golden = read_golden(bundle.folder)
    if golden is None:
        return _warm_up(predictor, _zeros_of(predictor), _most_rows(predictor))
    try:
        compare(golden, run_golden(predictor, predictor.signature, golden, predictor.max_batch_rows))
    except DodonaError as error:
        raise GoldenFailure(error.message, field=error.field or "golden", remedy=error.remedy) from error
    return _warm_up(predictor, _examples_of(predictor, golden), min(golden.rows, predictor.max_batch_rows))


def _warm_up(predictor: Predictor, inputs_of: Callable[[int], Inputs], most_rows: int) -> RunCost:
    """One row, then `most_rows`; each twice, since the first run of a size may allocate."""
    cost = RunCost()
    for rows in dict.fromkeys((1, most_rows)):
        inputs = inputs_of(rows)
        try:
            predictor.predict(inputs)
            begin = perf_counter()
            outputs = predictor.predict(inputs)
            took_s = perf_counter() - begin
        except DodonaError as error:
            # A model may rightly refuse zeros; it is judged by its golden examples, not by this.
            log.warning("warm-up failed", extra={"model": str(predictor.spec), "rows": rows, "error": str(error)})
            return RunCost()
        try:
            predictor.check(outputs, rows)
        except DodonaError as error:
            raise BundleError(error.message, field="model.yaml.outputs", remedy=error.remedy) from error
        cost.observe(rows, took_s)
        if took_s > _SLOW_RUN_S:
            break
    return cost


def _zeros_of(predictor: Predictor) -> Callable[[int], Inputs]:
    signature = predictor.signature

    def inputs(rows: int) -> Inputs:
        return {tensor.name: zeros(tensor, rows, batched=signature.batched) for tensor in signature.inputs}

    return inputs


def _most_rows(predictor: Predictor) -> int:
    """Rows of a full batch, or of as much of it as memory should be taken for."""
    inputs = predictor.signature.inputs
    row_bytes = sum(prod(map(abs, tensor.shape)) * tensor.dtype.itemsize for tensor in inputs)
    return max(1, min(predictor.max_batch_rows, _MAX_WARM_UP_BYTES // max(1, row_bytes)))


def _examples_of(predictor: Predictor, golden: Golden) -> Callable[[int], Inputs]:
    batched = predictor.signature.batched

    def inputs(rows: int) -> Inputs:
        return {
            name: np.ascontiguousarray(array[:rows] if batched else array[0]) for name, array in golden.inputs.items()
        }

    return inputs
