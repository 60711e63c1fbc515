"""Every key explained, from the settings models themselves: for the terminal and for docs/reference/configuration.md.

`python -m dodona.config.explain > docs/reference/configuration.md` writes the reference anew; a test compares them.
"""

import sys
from collections.abc import Iterable

from dodona.config.fields import Key, keys_of, shown
from dodona.config.settings import ClusterSettings

_HEAD = """# Configuration

One file, `dodona.yaml`, read once at start. A value is taken from the first of these that gives it:

1. an option on the command line (`dodona up --grpc-port 9001`);
2. an environment variable: `DODONA_` and the key in capitals, two underscores between levels
   (`DODONA_ROUTER__GRPC_PORT=9001`, `DODONA_WORKERS__ONNX__REPLICAS=2`);
3. the file that `--config` or `DODONA_CONFIG` names, else `dodona.yaml` in the current folder;
4. the default.

An unknown key is an error that suggests the nearest known one. `dodona config` prints the effective configuration with
the source of every value that is not a default, secrets hidden; `dodona config --explain` prints the tables below.
Durations are seconds (`_s`), sizes bytes (`_bytes`). A port 0 means any free port.

```yaml
repository: ./models
router:
  grpc_port: 8001
  http_port: 8000
  limits:
    max_message_bytes: 67108864
workers:
  onnx:
    replicas: 2
```

This page is generated from the settings: `python -m dodona.config.explain > docs/reference/configuration.md`.
"""


def explained() -> list[Key]:
    return list(keys_of(ClusterSettings))


def as_text(keys: Iterable[Key]) -> str:
    """One paragraph a key: `name (type, default X)` and its text below."""
    paragraphs = []
    for key in keys:
        head = f"{key.name}:" if key.block else f"{key.name} ({key.kind}, default {shown(key.default)})"
        paragraphs.append(f"{head}\n    {key.text}")
    return "\n".join(paragraphs) + "\n"


def as_markdown(keys: Iterable[Key]) -> str:
    """The reference page: a section and a table for each block."""
    sections = {"": [_HEAD, "## Top level", "", *_TABLE]}
    for key in keys:
        if key.block:
            text = [key.text, ""] if key.text else []
            sections[key.name] = ["", f"## `{key.name}`", "", *text, *_TABLE]
        else:
            parent = ".".join(part for part in key.path[:-1] if not part.startswith("<"))
            row = f"| `{key.path[-1]}` | {_cell(key.kind)} | `{shown(key.default)}` | {_cell(key.text)} |"
            sections[parent].append(row)
    return "\n".join(line for section in sections.values() for line in section) + "\n"


_TABLE = ["| key | type | default | meaning |", "|---|---|---|---|"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(as_markdown(explained()))
