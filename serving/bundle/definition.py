"""`model.yaml`: what the owner of a model says about it. Everything a framework's own file can tell is optional."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, StringConstraints

from serving.errors import BundleError
from serving.settings import Settings, validate
from serving.spec import NUMPY_DTYPES, TensorSpec

# Names appear in URLs, metric labels, folders: no separators, nothing to escape, no hidden files.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def _datatype(value: str) -> str:
    if value not in NUMPY_DTYPES:
        raise ValueError(f"unknown datatype, use one of {', '.join(NUMPY_DTYPES)}")
    return value


class TensorDefinition(Settings):
    name: str
    """Name on the wire."""
    datatype: Annotated[str, AfterValidator(_datatype)]
    """Open Inference Protocol datatype: FP32, INT64, BYTES ..."""
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = ()
    """Extents without the batch dimension; -1 = any."""
    columns: tuple[str, ...] = ()
    """Names of the elements of the last dimension, so that records can be sent."""
    labels: tuple[str, ...] = ()
    """Outputs: names of the classes, used by the classification extension."""
    allow_nan: bool = True
    """Inputs: whether NaN is a legal value; if not, a request with one is refused."""

    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.datatype, self.shape, self.columns, self.labels, self.allow_nan)


class Batching(Settings):
    enabled: bool = True
    """Whether the first dimension of every tensor is the batch. False: each request runs alone, as it came."""
    max_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Rows of one run at most; a single request with more is refused."""
    max_wait_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds a request may wait for others while the runtime is free; 0 = never wait."""


class ModelDefinition(Settings):
    name: Name
    """The name callers use; equals the folder's name."""
    framework: Literal["onnx", "xgboost", "python", "echo"]
    """The worker that runs it."""
    description: str = ""
    owner: str = ""
    file: str = ""
    """The framework's file inside the version folder; empty = the framework's usual name (model.onnx, model.ubj)."""
    class_: Annotated[str, Field(alias="class")] = ""
    """framework python: `module:Class` inside the version folder, or importable by the worker."""
    inputs: tuple[TensorDefinition, ...] = ()
    """Empty = as the model file says."""
    outputs: tuple[TensorDefinition, ...] = ()
    batching: Batching = Batching()
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda:\d+)$")] = "auto"
    """auto = the first GPU if there is one, else the CPU; cuda:N fails clearly where there is none."""
    default_timeout_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds a request without a deadline of its own may take; 0 = the router's default."""
    labels: dict[Name, str] = Field(default_factory=dict)
    """Label -> version, for example {stable: "3"}. A request without a version goes to `stable` if it is set."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the runtime, see docs/reference/runtimes.md."""


def read_definition(path: Path) -> ModelDefinition:
    """Parse a model.yaml. Raises BundleError naming the key and the remedy."""
    return parse_definition(path.read_text(encoding="utf-8"))


def parse_definition(text: str) -> ModelDefinition:
    """Raises BundleError: not YAML, not a mapping, unknown key, wrong value."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise BundleError(f"not valid YAML{line}", field="model.yaml") from error
    if not isinstance(values, dict):
        raise BundleError("must be a mapping with at least name and framework", field="model.yaml")
    return validate(ModelDefinition, values, where="model.yaml", error=BundleError)
