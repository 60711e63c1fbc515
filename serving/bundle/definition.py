"""`model.yaml`: what the owner of a model says about it. Everything a framework's own file can tell is optional."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator

from serving.bundle.layout import DEFINITION_FILE, safe_path
from serving.errors import BundleError
from serving.settings import Settings, validate
from serving.spec import NUMPY_DTYPES, TensorSpec
from serving.yaml_text import fault_of, parse_yaml

# Names appear in URLs, metric labels, folders: no separators, nothing to escape, no hidden files.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
NAME_RULE: Final = "letters, digits, dot, dash and underscore, 128 at most, the first a letter or digit"


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"is no name; use {NAME_RULE}")
    return value


Name = Annotated[str, AfterValidator(_name)]
Framework = Literal["onnx", "xgboost", "python", "echo"]
MAX_DEFINITION_BYTES: Final = 1024 * 1024


def is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def _datatype(value: str) -> str:
    if value not in NUMPY_DTYPES:
        raise ValueError(f"unknown datatype, use one of {', '.join(NUMPY_DTYPES)}")
    return value


def _version(value: object) -> object:
    """YAML reads an unquoted 3 as a number and 2024-01-31 as a date; what was meant is the folder's name."""
    if isinstance(value, bool | float):
        raise ValueError(f'put the version in quotes: "{value}"')
    return str(value) if isinstance(value, int | datetime.date) else value


Version = Annotated[str, BeforeValidator(_version), AfterValidator(_name)]


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda:\d+", value):
        raise ValueError("is no device; use auto, cpu or cuda:N with the number of a GPU")
    return value


def _inner_path(value: str) -> str:
    return safe_path(value) if value else value


class TensorDefinition(Settings):
    name: Annotated[str, StringConstraints(min_length=1)]
    """Name on the wire."""
    datatype: Annotated[str, AfterValidator(_datatype)]
    """Open Inference Protocol datatype: FP32, INT64, BYTES ..."""
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = ()
    """Extents without the batch dimension; -1 = any. Left out = as the model file says."""
    columns: tuple[str, ...] = ()
    """Names of the elements of the last dimension, so that records can be sent."""
    labels: tuple[str, ...] = ()
    """Outputs: names of the classes, used by the classification extension."""
    allow_nan: bool = True
    """Inputs: whether NaN is a legal value; if not, a request with one is refused."""

    @model_validator(mode="after")
    def _columns_fit(self) -> "TensorDefinition":
        last = self.shape[-1] if self.shape else 0
        if self.columns and last not in (-1, len(self.columns)):
            raise ValueError(f"{len(self.columns)} columns for {last} elements in the last dimension of {self.name}")
        return self

    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.datatype, self.shape, self.columns, self.labels, self.allow_nan)


class Batching(Settings):
    enabled: bool = True
    """Whether the first dimension of every tensor is the batch. False: each request runs alone, as it came."""
    max_batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Rows of one run at most; a single request with more is refused."""
    max_wait_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds a request may wait for others while the runtime is free; 0 = never wait."""
    run_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """Seconds after which a run counts as hung, or 20 times what is expected of it if that is more. Its worker is
    replaced, its requests are sent to another one, once. 0 = never."""


class Slo(Settings):
    latency_p99_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Seconds within which 99 of 100 requests should be answered; 0 = no goal. It bounds how large batches grow and how
    long they wait, and requests without a deadline of their own that cannot meet it are refused at once."""


class ResponseCache(Settings):
    enabled: bool = False
    """Whether the router keeps answers and gives them again to identical requests. For models whose answer depends on
    nothing but the request. Includes `collapse`."""
    max_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes that the answers of one version may take, with their requests; 0 = all that router.response_cache_bytes
    allows."""
    ttl_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after which an answer is no longer given; 0 = as long as the version is served as it is."""


class ModelDefinition(Settings):
    name: Name
    """The name callers use; equals the folder's name."""
    framework: Framework
    """The worker that runs it."""
    description: str = ""
    owner: str = ""
    file: Annotated[str, AfterValidator(_inner_path)] = ""
    """The framework's file inside the version folder; empty = the framework's usual name (model.onnx, model.ubj)."""
    class_: Annotated[str, Field(alias="class")] = ""
    """framework python: `module:Class` inside the version folder, or importable by the worker."""
    inputs: tuple[TensorDefinition, ...] = ()
    """Empty = as the model file says."""
    outputs: tuple[TensorDefinition, ...] = ()
    batching: Batching = Batching()
    slo: Slo = Slo()
    response_cache: ResponseCache = ResponseCache()
    collapse: bool = False
    """Whether identical requests that are under way at the same time run once, and all get that answer."""
    replicas: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Worker processes that serve it; left out = `workers.<framework>.replicas` of dodona.yaml. May be changed while it
    is served; 0 takes it out of service."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """auto = the first GPU if there is one, else the CPU; cuda:N fails clearly where there is none."""
    default_timeout_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds a request without a deadline of its own may take; 0 = the router's default."""
    labels: dict[Name, Version] = Field(default_factory=dict)
    """Label -> version, for example {stable: "3"}. A request without a version goes to `stable` if it is set."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the runtime, see docs/reference/runtimes.md."""

    @field_validator("inputs", "outputs")
    @classmethod
    def _names_differ(cls, tensors: Sequence[TensorDefinition]) -> Sequence[TensorDefinition]:
        names = [tensor.name for tensor in tensors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one tensor is called {twice[0]}")
        return tensors


def read_definition(path: Path) -> ModelDefinition:
    """Parse a model.yaml. Raises BundleError naming the key and the remedy."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BundleError("missing", field=DEFINITION_FILE, remedy="write one, or use dodona pack") from None
    return parse_definition(raw)


def parse_definition(raw: str | bytes) -> ModelDefinition:
    """Raises BundleError: too large, not UTF-8, not YAML, not a mapping, unknown key, wrong value."""
    if len(raw) > MAX_DEFINITION_BYTES:
        raise BundleError(f"has more than {MAX_DEFINITION_BYTES} bytes", field=DEFINITION_FILE)
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        values = parse_yaml(text)
    except UnicodeDecodeError:
        raise BundleError("not valid UTF-8", field=DEFINITION_FILE, remedy="save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BundleError(fault_of(error), field=DEFINITION_FILE) from error
    if not isinstance(values, dict):
        raise BundleError("must be a mapping with at least name and framework", field=DEFINITION_FILE)
    return validate(ModelDefinition, values, where=DEFINITION_FILE, error=BundleError)


def definition_text(definition: ModelDefinition) -> str:
    """The model.yaml of a definition, without what was never said."""
    values = definition.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return "".join(_entry_text(key, value) for key, value in values.items())


def _entry_text(key: str, value: object) -> str:
    """One key on a line of its own, short lists and mappings on one line."""
    flow = None if isinstance(value, list | dict) else False
    return str(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=110))
