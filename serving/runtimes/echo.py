"""Returns its inputs: for tests of everything around a model, and for benches of everything but a model."""

import time
from typing import Annotated

from pydantic import Field

from serving.bundle.bundle import Bundle
from serving.errors import BundleError
from serving.runtimes.base import Arrays
from serving.runtimes.signature import declared_signature
from serving.settings import Settings, validate
from serving.spec import Signature


class EchoOptions(Settings):
    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Seconds every run takes, whatever its rows."""
    delay_per_row_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Seconds every row of a run adds."""
    fail_on: float | str | None = None
    """A run whose inputs hold this value (a text for BYTES) raises."""


class EchoRuntime:
    """The i-th output is the i-th input; model.yaml may leave the outputs out."""

    device = "cpu"
    text_inputs: frozenset[str] = frozenset()

    def __init__(self, *, threads: int = 1) -> None:  # noqa: ARG002 - the protocol's; nothing here has threads
        self._options = EchoOptions()
        self._pairs: list[tuple[str, str]] = []

    def load(self, bundle: Bundle) -> Signature:
        """Raises BundleError: no inputs declared, or an output that is not like its input."""
        definition = bundle.definition
        self._options = validate(EchoOptions, definition.options, where="model.yaml.options", error=BundleError)
        if not definition.outputs:
            definition = definition.model_copy(update={"outputs": definition.inputs})
        signature = declared_signature(definition)
        for index, output in enumerate(signature.outputs):
            source = signature.inputs[index] if index < len(signature.inputs) else None
            if source is None or (source.datatype, source.shape) != (output.datatype, output.shape):
                raise BundleError(
                    f"echo gives back its inputs, and input {index} is {source}, not {output}",
                    field=f"model.yaml.outputs[{index}]",
                    remedy="leave outputs out, or give each the datatype and shape of the input at its place",
                )
            self._pairs.append((output.name, source.name))
        return signature

    def predict(self, inputs: Arrays) -> Arrays:
        """Raises ValueError if `fail_on` is among the values."""
        options = self._options
        if options.delay_s or options.delay_per_row_s:
            first = next(iter(inputs.values()))
            time.sleep(options.delay_s + options.delay_per_row_s * (len(first) if first.ndim else 1))
        if options.fail_on is not None:
            self._refuse(options.fail_on, inputs)
        return {output: inputs[source] for output, source in self._pairs}

    def _refuse(self, unwanted: float | str, inputs: Arrays) -> None:
        value = unwanted.encode() if isinstance(unwanted, str) else unwanted
        for name, array in inputs.items():
            if (array.dtype.kind == "O") == isinstance(unwanted, str) and (array == value).any():
                raise ValueError(f"{name} holds {unwanted}, which this model is told to fail on")

    def close(self) -> None:
        """Nothing is held."""
