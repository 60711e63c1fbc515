"""Walks settings models: every key by its path, with type, default and text. Used to explain, print and override."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Path: TypeAlias = tuple[str, ...]


# What a block is for, where neither its key nor its class says so.
_BLOCKS: Final[Mapping[Path, str]] = {
    ("router", "tls"): "Encryption of the listeners for callers; without a certificate there is none.",
    ("router", "limits"): "How much the router takes at once; what is above is refused with the name of the limit.",
    ("router", "link"): "The listener that workers and agents dial.",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration. A block has keys below it and no default of its own."""

    path: Path
    kind: str
    default: object
    text: str
    block: bool

    @property
    def name(self) -> str:
        return ".".join(self.path)


def keys_of(model: type[BaseModel], prefix: Path = ()) -> Iterator[Key]:
    """Every key in the order of the source; keys of a mapping's values appear under `<name>`."""
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        text = " ".join((field.description or "").split())
        inner = block_of(field.annotation)
        if inner is None:
            yield Key(path, kind_of(field), field.get_default(call_default_factory=True), text, block=False)
            continue
        element = mapped(field.annotation)
        text = text or " ".join((inner.__doc__ or "").split()) or _BLOCKS.get(path, "")
        yield Key(path, "mapping" if element else "block", None, text, block=True)
        below = (*path, f"<{'|'.join(element)}>") if element else path
        yield from keys_of(inner, below)


def block_of(annotation: Any) -> type[BaseModel] | None:
    """The settings model that a block, or the values of a mapping, are made of."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def mapped(annotation: Any) -> tuple[str, ...]:
    """Names that a mapping's keys may have; empty for what is no mapping."""
    if get_origin(annotation) is not dict:
        return ()
    keys = get_args(annotation)[0]
    return tuple(str(name) for name in get_args(keys)) if get_origin(keys) is Literal else ("name",)


def annotation_at(model: type[BaseModel], path: Path) -> Any:
    """The annotation of a key, None where there is no such key."""
    annotation: Any = model
    for name in path:
        if mapped(annotation):
            annotation = get_args(annotation)[1]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(name)
            annotation = field.annotation if field else None
        else:
            return None
    return annotation


def kind_of(field: FieldInfo) -> str:
    """The type in words, with its bounds: "integer 0..65535", "http2 | grpcio", "seconds > 0"."""
    bounds = _bounds(field)
    return f"{_name(field.annotation)}{f' {bounds}' if bounds else ''}"


_NAMES: Mapping[Any, str] = types.MappingProxyType(
    {int: "integer", float: "number", str: "text", bool: "true | false", SecretStr: "secret"}
)


def _name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " | ".join(_name(part) for part in get_args(annotation))
    if origin is tuple:
        return f"list of {_name(get_args(annotation)[0])}"
    if origin is dict:
        return f"mapping of {_name(get_args(annotation)[1])}"
    if origin is Annotated:
        return _name(get_args(annotation)[0])
    return _NAMES.get(annotation, "value")


def _bounds(field: FieldInfo) -> str:
    limits = {
        name: getattr(part, name) for part in field.metadata for name in ("ge", "gt", "le") if hasattr(part, name)
    }
    low, above, high = limits.get("ge"), limits.get("gt"), limits.get("le")
    if low is not None and high is not None:
        return f"{low:g}..{high:g}"
    if above is not None:
        return f"> {above:g}"
    if low is not None:
        return f">= {low:g}"
    return f"<= {high:g}" if high is not None else ""


def is_text(annotation: Any) -> bool:
    """Whether a value from the environment is taken as it stands, not read as YAML."""
    return annotation in (str, SecretStr) or get_origin(annotation) is Literal


def shown(value: object) -> str:
    """A default as one would write it in YAML."""
    if isinstance(value, SecretStr):
        return '""' if not value.get_secret_value() else "(hidden)"
    if value is PydanticUndefined:
        return "(required)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.1f}"
    return '""' if value == "" else str(value)
