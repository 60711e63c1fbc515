"""Names inside a repository, and which paths a file may have inside a bundle."""

import re
from pathlib import PurePosixPath
from typing import Final

DEFINITION_FILE: Final = "model.yaml"
MANIFEST_FILE: Final = "MANIFEST.json"
GOLDEN_FILE: Final = "golden.parquet"
FEATURES_FILE: Final = "features.json"
TRITON_FILE: Final = "config.pbtxt"
TRITON_MODEL_FILE: Final = "model.onnx"
# A version that has one of these was packed by Dodona, so it is not whole before its manifest is there.
PACKED_FILES: Final = frozenset({MANIFEST_FILE, GOLDEN_FILE, FEATURES_FILE})

# Where a bundle is written before it is renamed to its name. Hidden, so that no scan sees it.
PUBLISHING_PREFIX: Final = ".publishing-"

# What file browsers and network file systems leave behind; never read by a runtime, so it may lie in a version
# folder without being in the manifest. Python's __pycache__ is not among them: it holds code that would be run.
_HARMLESS: Final = re.compile(r"^(\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.directory|\.nfs[0-9a-f]+)$")


def is_harmless(path: str) -> bool:
    """Whether a file may be present in a version folder without being in its manifest."""
    return _HARMLESS.match(path.rpartition("/")[2]) is not None


def is_hidden(name: str) -> bool:
    return name.startswith(".")


def safe_path(path: str) -> str:
    """The path unchanged if it stays inside the folder it is relative to. Raises ValueError."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\x00-\x1f]", path):
        raise ValueError("must be a relative path with / between names, inside its folder")
    return str(PurePosixPath(path))
