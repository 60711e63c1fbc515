"""What a prediction gives back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from serving.errors import InvalidRequest
from serving.tensors import Array


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of one version of one model.

    `outputs` maps names to read-only arrays whose first dimension is the rows, where the model is batched; BYTES
    outputs are object arrays of `bytes`. `version` is the version that answered, also where none was asked for. `id`
    is the id of the request message, echoed; `request_id` what the server's logs call this request. `timings` are
    seconds by stage as the server reported them, and `elapsed_s` is the whole call as seen from here.
    """

    model: str
    version: str
    outputs: Mapping[str, Array]
    id: str = ""
    request_id: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def output(self) -> Array:
        """The only output. Raises InvalidRequest where there are several, naming them."""
        if len(self.outputs) != 1:
            raise InvalidRequest(
                f"{self.model}/{self.version} answered with {len(self.outputs)} outputs",
                field="output",
                remedy=f"take one by name: {', '.join(self.outputs) or 'there is none'}",
            )
        return next(iter(self.outputs.values()))

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)
