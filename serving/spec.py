"""What a model is called and what goes in and out: the vocabulary shared by router, workers and clients."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np


@dataclass(frozen=True, slots=True, order=True)
class ModelSpec:
    """One version of one model. As text: `name/version`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


VersionKey: TypeAlias = tuple[tuple[tuple[int, int, str], ...], str]
_PART: Final = re.compile(r"[0-9]+|[^0-9]+")
_BEFORE_RELEASE: Final = re.compile(r"^[-.]?(alpha|beta|rc|preview|pre|dev|snapshot)\b", re.IGNORECASE)
_PRE, _END, _TEXT, _NUMBER = range(4)


def version_key(version: str) -> VersionKey:
    """Sort key of a version; the greatest is the newest. Natural: 1 < 2 < 10, 2024-01-31 < 2024-02-01, v1.9 < v1.10.

    Runs of digits compare as numbers, all else as text; a number is newer than a text, so that `test` is never the
    newest beside `3`. The suffixes -alpha, -beta, -rc, -pre, -preview, -dev and -snapshot make a version older than
    the one without. Versions that compare alike (1 and 01) are ordered by their text.
    """
    parts = _PART.findall(version)
    ranked = [_ranked(part, first=index == 0) for index, part in enumerate(parts)]
    return (*ranked, (_END, 0, "")), version


def _ranked(part: str, *, first: bool) -> tuple[int, int, str]:
    if part[0] in "0123456789":
        return _NUMBER, int(part), ""
    if not first and _BEFORE_RELEASE.match(part):
        return _PRE, 0, part
    return _TEXT, 0, part


def in_order(versions: Iterable[str]) -> list[str]:
    """Oldest first."""
    return sorted(versions, key=version_key)


def next_version(versions: Iterable[str]) -> str:
    """The integer after the greatest integer among `versions`, 1 where there is none."""
    return str(max((int(version) for version in versions if re.fullmatch(r"[0-9]{1,18}", version)), default=0) + 1)


DEFAULT_PRIORITY: Final = 100
"""Of a request that names none; 1 is the highest."""


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
