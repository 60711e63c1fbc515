"""One model's folder, understood: Dodona's layout (model.yaml and packed versions) or Triton's."""

from collections.abc import Callable
from dataclasses import dataclass

from serving.bundle.definition import MAX_DEFINITION_BYTES, ModelDefinition, parse_definition
from serving.bundle.layout import DEFINITION_FILE, PACKED_FILES, TRITON_FILE, TRITON_MODEL_FILE, is_hidden
from serving.bundle.tree import Folder, own_files, subfolders
from serving.bundle.triton import MAX_CONFIG_BYTES, MAX_LABELS_BYTES, VersionPolicy, completed_definition, read_config
from serving.errors import BundleError
from serving.spec import in_order

ReadFile = Callable[[str, int], bytes]
"""The whole of a file that has at most so many bytes. Raises BundleError if it has more, OSError."""


@dataclass(frozen=True, slots=True)
class ModelRead:
    definition: ModelDefinition
    policy: VersionPolicy | None
    """Triton's choice among the versions; None in Dodona's layout, where every folder is a version."""

    @property
    def packed(self) -> bool:
        """Whether versions carry a manifest; Triton's do not."""
        return self.policy is None

    def versions(self, folder: Folder) -> list[str]:
        """The versions to serve, oldest first."""
        names = [name for name in subfolders(folder) if not is_hidden(name)]
        return in_order(names) if self.policy is None else self.policy.served(names)


def read_model(name: str, folder: Folder, read: ReadFile) -> ModelRead:
    """`name` is the folder's, `read` gives a file of it by its path. Raises BundleError, OSError."""
    files = own_files(folder)
    if DEFINITION_FILE in files:
        definition = parse_definition(read(DEFINITION_FILE, MAX_DEFINITION_BYTES))
        if definition.name != name:
            raise BundleError(
                f"is {definition.name!r}, but the folder is {name!r}",
                field=f"{DEFINITION_FILE}.name",
                remedy="make them equal",
            )
        return ModelRead(definition, None)
    if TRITON_FILE in files:
        definition, policy = read_config(
            name, read(TRITON_FILE, MAX_CONFIG_BYTES), lambda path: read(path, MAX_LABELS_BYTES)
        )
        return ModelRead(definition, policy)
    if _is_bare_triton(folder):
        return ModelRead(completed_definition(name), VersionPolicy())
    raise BundleError("is missing", field=DEFINITION_FILE, remedy="write one, or publish with dodona pack")


def _is_bare_triton(folder: Folder) -> bool:
    """Integer versions with model.onnx and nothing of a packed bundle: Triton would complete the configuration."""
    versions = {name: inner for name, inner in subfolders(folder).items() if name.isascii() and name.isdigit()}
    packed = any(PACKED_FILES & own_files(inner).keys() for inner in versions.values())
    return not packed and any(TRITON_MODEL_FILE in inner for inner in versions.values())
