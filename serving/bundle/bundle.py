"""A bundle in hand: one version of one model, on this machine's disk, its digests checked."""

from dataclasses import dataclass
from pathlib import Path

from serving.bundle.definition import ModelDefinition
from serving.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Bundle:
    """Made by `serving.bundle.open.open_bundle` only, after every file's digest was right."""

    spec: ModelSpec
    definition: ModelDefinition
    folder: Path
    """The version folder, readable and not changing."""
    digest: str
    """sha256 of MANIFEST.json; of the listing for layouts that have none."""

    def file(self, default: str) -> Path:
        """Path of the framework's own file, by model.yaml or the framework's usual name."""
        return self.folder / (self.definition.file or default)
