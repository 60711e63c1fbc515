"""What a model is called and what goes in and out: the vocabulary shared by router, workers and clients."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np


@dataclass(frozen=True, slots=True, order=True)
class ModelSpec:
    """One version of one model. As text: `name/version`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def version_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """Natural order of versions: digits compare as numbers ("2" < "10"), the rest as text, so dates sort as dates."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"[0-9]+|[^0-9]+", version))


class State(StrEnum):
    """Life of a model version; the words are those of Triton's repository index."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    FAILED = "FAILED"


# Open Inference Protocol datatype -> NumPy dtype. BYTES is object (each element `bytes`). BF16 has no NumPy dtype:
# its raw 2-byte patterns travel as uint16.
NUMPY_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
    "BF16": np.dtype("<u2"),
}
_DATATYPES: Final = {dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Open Inference Protocol name of a NumPy dtype; strings and objects are BYTES. Raises ValueError."""
    if dtype.kind in "OSU":
        return "BYTES"
    name = _DATATYPES.get(dtype.newbyteorder("<"))
    if name is None:
        raise ValueError(f"dtype {dtype} has no Open Inference Protocol datatype")
    return name


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, datatype and shape of a tensor. `shape` leaves out the batch dimension where the model is batched;
    -1 stands for any extent. `columns` names the elements of the last dimension, so that a record
    `{"age": 31, ...}` can be turned into a row; `labels` names the classes of an output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    allow_nan: bool = True

    @property
    def dtype(self) -> np.dtype[Any]:
        return NUMPY_DTYPES[self.datatype]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model version. Where `batched`, every tensor on the wire has one more, leading
    dimension: the rows of the batch."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True

    def wire_shape(self, tensor: TensorSpec) -> tuple[int, ...]:
        """Shape as callers see it: with the batch dimension (-1) in front where the model is batched."""
        return (-1, *tensor.shape) if self.batched else tensor.shape
