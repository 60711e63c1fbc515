"""The one interface of a framework: `load`, `predict`, `close`. Frameworks are imported inside `load`.

A class that implements it takes one keyword, `threads` (how many a single run may use), and is found by name through
`serving.runtimes.registry`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.bundle.bundle import Bundle
from serving.spec import Signature

Arrays = Mapping[str, NDArray[Any]]


class Runtime(Protocol):
    """Runs one model version. `predict` is called from one thread at a time, not always the same one."""

    def load(self, bundle: Bundle) -> Signature:
        """Read the model onto its device and return what it takes and gives, as far as the framework knows; what it
        does not know comes from model.yaml. Raises BundleError with the remedy."""

    def predict(self, inputs: Arrays) -> Arrays:
        """`{name: array}` to `{name: array}`; where the signature is batched the first dimension is the rows and
        outputs have as many as inputs. Inputs are writable and C-contiguous; they may be views of a buffer that is
        reused after the call, so copy what is to be kept."""

    def close(self) -> None:
        """Give back memory and devices. Called once."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda:N"."""

    @property
    def text_inputs(self) -> frozenset[str]:
        """BYTES inputs whose elements must be UTF-8; a request with others is refused before it joins a batch."""


class Ways(Protocol):
    """A runtime that can run a model in more than one way keeps one as `ways`."""

    @property
    def answered_by(self) -> str:
        """Who gave the last answer of `predict`: the framework, or what it was compiled for."""

    @property
    def plan(self) -> "Plan":
        """Who answers when."""


class Plan(Protocol):
    @property
    def state(self) -> str:
        """A word of a fixed set, for metrics."""

    @property
    def text(self) -> str:
        """For people."""


def ways_of(runtime: Runtime) -> Ways | None:
    """None for a runtime that has one way only."""
    ways: Ways | None = getattr(runtime, "ways", None)
    return ways


def as_array(value: Any) -> NDArray[Any]:
    """What a model returned, as a contiguous array."""
    return np.ascontiguousarray(value)
