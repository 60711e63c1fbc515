"""What `pack` needs to know of a model in any form: how to write it down, and what it answers by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.bundle.definition import Framework

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Source:
    framework: Framework
    write: Callable[[Path, str], None]
    """Writes the framework's files into a folder, the model under the name given; "" = the framework's usual one."""
    live: Callable[[Any], Mapping[str, Array]] | None = None
    """Golden inputs as the user gave them to what the model in memory answers, for those outputs it can tell. A
    single output without a name of its own has the name ""."""
    takes_nan: bool = False
    """Whether the model itself knows what to do with a missing value, so that NaN is a legal input."""
    libraries: tuple[str, ...] = ()
    """Distributions whose versions belong into the manifest."""
