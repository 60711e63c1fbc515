"""A decoded, valid request: what the decoder makes, the assembler puts together and the encoder answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.shared_memory.regions import Span

# An input of one request: where elements have a fixed size raw row-major little-endian bytes, a view of them, or where
# in shared memory they stand; else an object array.
Part = bytes | memoryview | Span | NDArray[np.object_]
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output a caller asked for; `top_classes` > 0 asks for its best classes instead of its values."""

    index: int
    """Place in the signature."""
    top_classes: int = 0
    span: Span | None = None
    """Where in shared memory it goes; None = into the response."""


class DecodedRequest:
    __slots__ = ("explain", "id_field", "outputs", "parts", "rows", "shapes", "shared")

    def __init__(
        self,
        *,
        rows: int,
        parts: tuple[Part, ...],
        shapes: Shapes | None,
        id_field: bytes,
        outputs: tuple[WantedOutput, ...] | None,
        explain: bool = False,
        shared: bool = False,
    ) -> None:
        self.rows = rows
        """Rows of the batch; 1 where the model is not batched."""
        self.parts = parts
        """In the order of the signature."""
        self.shapes = shapes
        """Shapes of the parts, without the rows where batched; None where the signature fixes them all. Requests with
        different shapes cannot share a batch."""
        self.id_field = id_field
        """The caller's id as the response's protobuf field, empty if there was none."""
        self.outputs = outputs
        """None = all."""
        self.explain = explain
        """Whether the reply is to say who ran it. Only with `outputs`, so that plain requests need not be asked."""
        self.shared = shared
        """Whether any output goes to shared memory. Only with `outputs`, too."""
