"""A model that can be run in two ways: by its framework, and compiled. Puts the parts of this folder together."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

import numpy as np

from serving.errors import BundleError
from serving.policy.fastest import ALWAYS, NEVER, Switches, is_compiled, ranges_text, switches
from serving.runtimes.compiled.agreement import DisagreementError, Predict, check_agreement, tolerance_of
from serving.runtimes.compiled.ensemble import CannotCompileError, Ensemble, Floats
from serving.runtimes.compiled.rows import generated_rows
from serving.runtimes.compiled.session import CompiledTrees
from serving.runtimes.compiled.timing import measure

log = logging.getLogger(__name__)

COMPILED: Final = "onnxruntime"
_GENERATED_ROWS: Final = 384
_MOST_EXAMPLES: Final = 2048
_MEASURE_S: Final = 0.15
_SEED: Final = 10

Compile = Literal["auto", "off", "force"]
State = Literal["compiled", "slower", "off", "refused", "differs"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What came of compiling: `compiled` or `slower` if the compiled trees agree, else why there are none, in `text`,
    which for the first two names the ranges of rows."""

    state: State
    text: str
    switches: Switches = NEVER


class TwoWays:
    """Calls take FP32 [rows, features] and give FP32 [rows, columns]; `answered_by` names who gave the last answer."""

    __slots__ = ("_compiled", "_features", "_name", "_native", "_switches", "answered_by", "plan")

    def __init__(self, name: str, native: Predict, compiled: CompiledTrees | None, plan: Plan) -> None:
        self._name = self.answered_by = name
        self._native = native
        self._compiled = compiled
        self._features = compiled.features if compiled else 0
        self._switches = plan.switches
        self.plan = plan

    def __call__(self, rows: Floats) -> Floats:
        """Raises what the framework raises; a fault of the compiled trees turns them off and is answered natively."""
        count, width = rows.shape
        if self._compiled is not None and width == self._features and is_compiled(self._switches, count):
            try:
                answer = self._compiled(rows)
            except Exception:
                log.exception("the compiled trees failed and are not used any more", extra={"framework": self._name})
                self._switches = NEVER
            else:
                self.answered_by = COMPILED
                return answer
        self.answered_by = self._name
        return self._native(rows)

    def close(self) -> None:
        if self._compiled is not None:
            self._compiled.close()
        self._compiled = None


def two_ways(
    name: str,
    native: Predict,
    ensemble_of: Callable[[], Ensemble],
    *,
    mode: Compile,
    examples: Floats | None,
    most_rows: int,
    threads: int,
) -> TwoWays:
    """`name` is the framework's; `ensemble_of` gives its trees; `examples` are the golden
    inputs, `most_rows` the largest batch. Under `auto` a model that cannot be compiled or differs stays native; under
    `force` it raises BundleError, and all sizes are compiled."""
    if mode == "off":
        return TwoWays(name, native, None, Plan("off", "compile: off"))
    try:
        compiled, plan = _compile(
            name,
            native,
            ensemble_of(),
            forced=mode == "force",
            examples=examples,
            most_rows=most_rows,
            threads=threads,
        )
    except CannotCompileError as error:
        if mode == "force":
            raise BundleError(
                f"cannot be compiled: {error}", field="model.yaml.options.compile", remedy="set compile: auto or off"
            ) from error
        state: State = "differs" if isinstance(error, DisagreementError) else "refused"
        return TwoWays(name, native, None, Plan(state, str(error)))
    return TwoWays(name, native, compiled, plan)


def _compile(
    name: str,
    native: Predict,
    ensemble: Ensemble,
    *,
    forced: bool,
    examples: Floats | None,
    most_rows: int,
    threads: int,
) -> tuple[CompiledTrees | None, Plan]:
    compiled = CompiledTrees(ensemble, threads=threads)
    rows = generated_rows(ensemble, _GENERATED_ROWS, np.random.default_rng(_SEED))
    tolerance = tolerance_of(ensemble)
    check_agreement(native, compiled, rows, tolerance)
    if examples is not None:
        check_agreement(native, compiled, examples[:_MOST_EXAMPLES], tolerance)
    if forced:
        found = ALWAYS
    else:
        typical = rows[: _GENERATED_ROWS // 3] if examples is None else examples
        found = switches(measure(native, compiled, typical, most_rows, budget_s=_MEASURE_S, clock=perf_counter))
    text = ranges_text(found, name, COMPILED)
    if not found:
        compiled.close()
        return None, Plan("slower", text)
    return compiled, Plan("compiled", text, found)
