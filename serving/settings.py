"""Typed settings: unknown keys are refused with a suggestion, and every error names the key by its full path.

Settings are read once, at the composition root of a process. Every field has a default and a description that gives
the unit; `dodona config --explain` prints them.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from serving.errors import ConfigurationError, DodonaError


class Settings(BaseModel):
    """Base of all settings and definitions: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)


def validate(
    cls: type[S], values: Mapping[str, Any], *, where: str = "", error: type[DodonaError] = ConfigurationError
) -> S:
    """Build `cls` from plain values. Raises `error` naming the first wrong key; `where` is the prefix of its path."""
    try:
        return cls.model_validate(values)
    except ValidationError as failure:
        faults = failure.errors(include_url=False)
        # A misspelt key shows up twice, as unknown and as missing: the first says what to mend.
        first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        path = ".".join(str(part) for part in first["loc"])
        field = f"{where}.{path}" if where and path else where or path
        if first["type"] == "extra_forbidden":
            message, remedy = "unknown key", _suggest(cls, [str(part) for part in first["loc"]])
        else:
            message, remedy = _plain(first), f"got {_short(first['input'])}"
        raise error(message, field=field, remedy=remedy) from None


def _plain(fault: ErrorDetails) -> str:
    """Pydantic's text, without the names of its types and ours."""
    if fault["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "must be a block of keys with their values"
    return fault["msg"].removeprefix("Value error, ")


def _suggest(cls: type[BaseModel], path: list[str]) -> str:
    known = sorted(_fields_at(cls, path[:-1]))
    close = get_close_matches(path[-1], known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"


def _fields_at(cls: type[BaseModel], path: list[str]) -> set[str]:
    """Keys of the nested model at `path`; an index or a mapping key on the way steps into the element type."""
    for name in path:
        field = cls.model_fields.get(name)
        if field is None:
            continue
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                cls = candidate
                break
    return {field.alias or name for name, field in cls.model_fields.items()}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
