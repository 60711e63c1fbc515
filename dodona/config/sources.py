"""Where settings come from: defaults < OTEL_* < file < DODONA_* < command line; and which of them gave each value."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from dodona.config.fields import Path, annotation_at, is_text
from dodona.config.settings import ClusterSettings
from serving.errors import ConfigurationError
from serving.settings import validate
from serving.tracing.settings import from_environment
from serving.yaml_text import DuplicateKey, fault_of, parse_yaml

PREFIX: Final = "DODONA_"
DEFAULT_FILE: Final = "dodona.yaml"
# Not settings of a cluster: which file to read, where clients find the router, how the command shows its own faults.
_OTHER: Final = frozenset({"DODONA_CONFIG", "DODONA_URL", "DODONA_TRACEBACK"})
# Kubernetes sets these for every Service whose name begins with "dodona".
_KUBERNETES: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective settings, and the source of each value that was given: path -> "dodona.yaml", "DODONA_...",
    "--flag"."""

    settings: ClusterSettings
    sources: Mapping[Path, str]


def load(
    file: str | FilePath | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
) -> Configuration:
    """Read everything once.

    `file` None = the file that DODONA_CONFIG names, else `dodona.yaml` here if there is one. `flags`: option name ->
    (dotted path, value), value None = not given. Raises ConfigurationError naming the key, the source and the remedy.
    """
    environment = os.environ if environment is None else environment
    values: Values = {}
    sources: dict[Path, str] = {}
    chosen = file or environment.get("DODONA_CONFIG")
    path = FilePath(chosen or DEFAULT_FILE)
    if chosen or path.exists():
        values = _from_file(path)
        sources.update((key, str(path)) for key, _ in _leaves(values))
    for name, key, value in (*_from_environment(environment), *_from_flags(flags or {})):
        _put(values, key, value, name)
        sources[key] = name
    for name, key, value in _from_opentelemetry(environment):
        if key not in sources:
            _put(values, key, value, name)
            sources[key] = name
    try:
        return Configuration(validate(ClusterSettings, values), sources)
    except ConfigurationError as error:
        raise _naming_the_source(error, sources) from None


def _from_file(path: FilePath) -> Values:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read: {error.strerror}", field=str(path), remedy="name an existing file with --config"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError("not valid UTF-8", field=str(path), remedy="save it as UTF-8") from None
    except yaml.YAMLError as error:
        remedy = "keep one of them" if isinstance(error, DuplicateKey) else "check the indentation"
        raise ConfigurationError(fault_of(error), field=str(path), remedy=remedy) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError("must be a mapping", field=str(path), remedy="see `dodona config --explain`")
    return _pruned(values)


def _pruned(values: Mapping[Any, Any]) -> Values:
    """An empty block (`router:` with nothing below) means its defaults."""
    return {
        str(name): _pruned(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Path, object]]:
    for name in sorted(environment):
        key = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        if not name.startswith(PREFIX) or name in _OTHER:
            continue
        annotation = annotation_at(ClusterSettings, key)
        if annotation is None and _KUBERNETES.match(name):
            continue
        yield name, key, environment[name] if is_text(annotation) else _scalar(name, environment[name])


def _from_opentelemetry(environment: Mapping[str, str]) -> Iterator[tuple[str, Path, object]]:
    for key, (name, value) in from_environment(environment).items():
        yield name, ("router", "tracing", key), value


def _scalar(name: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigurationError(f"{text!r} is not a YAML value", field=name, remedy="quote it") from None


def _from_flags(flags: Mapping[str, tuple[str, object]]) -> Iterator[tuple[str, Path, object]]:
    for option, (path, value) in flags.items():
        if value is not None:
            yield option, tuple(path.split(".")), value


def _put(values: Values, key: Path, value: object, source: str) -> None:
    block = values
    for name in key[:-1]:
        inner = block.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{'.'.join(key)} does not fit: {name} is no block", field=source)
        block = inner
    block[key[-1]] = value


def _leaves(values: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, object]]:
    for name, value in values.items():
        path = (*prefix, str(name))
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _naming_the_source(error: ConfigurationError, sources: Mapping[Path, str]) -> ConfigurationError:
    path = tuple(error.field.split("."))
    # A wrong block is named by its own path, the sources are those of the values in it.
    source = sources.get(path) or next((text for key, text in sources.items() if key[: len(path)] == path), "")
    field = error.field if not source else f"{source}: {error.field}"
    return ConfigurationError(error.message, field=field, remedy=error.remedy)
