"""Golden examples: inputs with the outputs they must give, within a tolerance (golden.parquet, `golden_file`).

Reading them takes Arrow, whose libraries are 31 MB that a worker would keep for good, for a file that it reads once. So
where Arrow is not there yet another process reads the file: 0.3 s of CPU, and the memory goes with it.
"""

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from numpy.typing import NDArray
from pydantic import Field

from serving.bundle.layout import GOLDEN_FILE
from serving.errors import BundleError
from serving.settings import Settings
from serving.spec import datatype_of

Array = NDArray[Any]
_READ_TIMEOUT_S: Final = 300.0


class Tolerance(Settings):
    """An output may differ from what is expected by `atol + rtol * |expected|`."""

    atol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Absolute part, in the output's unit."""
    rtol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Relative part."""

    def __str__(self) -> str:
        return f"{self.atol:g} + {self.rtol:g} x |expected|" if self.atol or self.rtol else "exact"


_DEFAULTS: Final = {
    "FP64": Tolerance(atol=1e-5, rtol=1e-4),
    "FP32": Tolerance(atol=1e-5, rtol=1e-4),
    "FP16": Tolerance(atol=1e-3, rtol=1e-2),
    "BF16": Tolerance(atol=1e-2, rtol=2e-2),
}


def default_tolerance(datatype: str) -> Tolerance:
    """What different processors and library versions may differ by; 0 for all but floats."""
    return _DEFAULTS.get(datatype, Tolerance())


@dataclass(frozen=True, slots=True)
class Golden:
    """Arrays whose first dimension is the example; all have the same number. `datatypes` names the protocol datatype
    of a tensor where its dtype does not tell: BF16, kept as uint16 bit patterns."""

    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    datatypes: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(next(iter((*self.inputs.values(), *self.expected.values()))))

    def datatype(self, name: str, array: Array) -> str:
        return self.datatypes.get(name) or datatype_of(array.dtype)

    def tolerance_of(self, output: str) -> Tolerance:
        given = self.tolerance.get(output)
        return given or default_tolerance(self.datatype(output, self.expected[output]))


def read_golden(folder: Path) -> Golden | None:
    """The examples of a version folder, None if it has none. Raises BundleError if the file is not as `golden_file`
    writes it."""
    if not (folder / GOLDEN_FILE).is_file():
        return None
    if "pyarrow" in sys.modules:
        from serving.bundle.golden_file import read_golden_file

        return read_golden_file(folder / GOLDEN_FILE)
    return _read_apart(folder / GOLDEN_FILE)


def _read_apart(path: Path) -> Golden:
    command = [sys.executable, "-m", "serving.bundle.golden_file", str(path)]
    try:
        read = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_READ_TIMEOUT_S, check=True
        )
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().rpartition("\n")[2]
        raise BundleError(
            f"cannot be read: {said or error}", field=GOLDEN_FILE, remedy="try again, or see whether memory is short"
        ) from error
    answer: Golden | BundleError = pickle.loads(read.stdout)  # from our own code, for this once
    if isinstance(answer, BundleError):
        raise answer
    return answer
