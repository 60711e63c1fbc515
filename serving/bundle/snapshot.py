"""What a scan of a repository saw. Plain values that compare equal as long as nothing changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from serving.bundle.definition import ModelDefinition
from serving.bundle.tree import Fingerprint
from serving.spec import ModelSpec


class VersionState(StrEnum):
    COMPLETE = "complete"
    """Every file is there in full size."""
    INCOMPLETE = "incomplete"
    """Something is still missing; waiting may help."""
    BROKEN = "broken"
    """Waiting will not help, only a change."""


@dataclass(frozen=True, slots=True)
class VersionSeen:
    version: str
    state: VersionState
    reason: str
    """Why it is not complete, with the remedy."""
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class ModelSeen:
    name: str
    definition: ModelDefinition | None
    """None where the model cannot be served; `error` says why."""
    error: str
    versions: tuple[VersionSeen, ...]
    """Oldest first. Where the definition is None each is broken, for the model's reason."""
    fingerprint: Fingerprint
    """Of the files directly in the model's folder: model.yaml or config.pbtxt, labels."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the repository's index. Where a model's folder is at fault and holds no version, `spec.version` is
    empty."""

    spec: ModelSpec
    definition: ModelDefinition | None
    state: VersionState
    reason: str
    own: Fingerprint
    """Of the model's own files."""
    files: Fingerprint
    """Of the version's files."""

    @property
    def digest(self) -> str:
        """Changes whenever a file of the version or the model's definition does; no proof of content."""
        return blake2b(repr((self.own, self.files)).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    models: Mapping[str, ModelSeen]

    def entries(self) -> Iterator[Entry]:
        """Every version by name, oldest first; one entry for a faulty model without versions."""
        for model in self.models.values():
            if model.definition is None and not model.versions:
                yield Entry(ModelSpec(model.name, ""), None, VersionState.BROKEN, model.error, model.fingerprint, ())
            for seen in model.versions:
                yield Entry(
                    ModelSpec(model.name, seen.version),
                    model.definition,
                    seen.state,
                    seen.reason,
                    model.fingerprint,
                    seen.fingerprint,
                )
