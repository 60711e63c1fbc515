"""The effective configuration as YAML, secrets hidden, with a comment where a value does not come from the defaults."""

from collections.abc import Iterator, Mapping

import yaml
from pydantic import BaseModel, SecretStr

from dodona.config.fields import Path
from dodona.config.sources import Configuration

HIDDEN = "**********"


def as_yaml(configuration: Configuration) -> str:
    """Loads again as the same settings, secrets apart."""
    return "\n".join(_block(configuration.settings, configuration.sources, ())) + "\n"


def as_json(configuration: Configuration) -> dict[str, object]:
    """`{"settings": {...}, "sources": {"router.grpc_port": "--grpc-port", ...}}`."""
    return {
        "settings": configuration.settings.model_dump(mode="json"),
        "sources": {".".join(path): source for path, source in configuration.sources.items()},
    }


def _block(values: Mapping[str, object] | BaseModel, sources: Mapping[Path, str], path: Path) -> Iterator[str]:
    items = values if isinstance(values, Mapping) else dict(values)
    indent = "  " * len(path)
    for name, value in items.items():
        here = (*path, name)
        if isinstance(value, BaseModel) or (isinstance(value, Mapping) and value):
            yield f"{indent}{name}:"
            yield from _block(value, sources, here)
        else:
            source = f"  # {sources[here]}" if here in sources else ""
            yield f"{indent}{name}: {_scalar(value)}{source}"


def _scalar(value: object) -> str:
    if isinstance(value, SecretStr):
        value = HIDDEN if value.get_secret_value() else ""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
