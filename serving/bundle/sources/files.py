"""A model on disk: the framework's own file, or a folder."""

import shutil
from pathlib import Path
from typing import Final

from serving.bundle.definition import Framework
from serving.bundle.layout import GOLDEN_FILE, MANIFEST_FILE, is_hidden
from serving.bundle.sources.boosters import booster_from_file
from serving.bundle.sources.source import Source
from serving.errors import BundleError

_BY_SUFFIX: Final[dict[str, Framework]] = {".onnx": "onnx", ".ubj": "xgboost", ".json": "xgboost", ".py": "python"}
_LIBRARIES: Final = {"onnx": ("onnxruntime", "onnxruntime-gpu"), "python": ("numpy",)}
_USUAL: Final = {"onnx": "model.onnx"}
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "Thumbs.db", MANIFEST_FILE, GOLDEN_FILE)


def file_source(path: Path, framework: Framework | None) -> Source:
    """Raises BundleError: no such path, or nothing says which framework it is of."""
    if not path.exists():
        raise BundleError(f"there is no {path.name}", field="model", remedy="name a model file or folder")
    known = framework or _BY_SUFFIX.get(path.suffix if path.is_file() else "")
    if known is None:
        raise BundleError(
            f"cannot tell the framework of {path.name}", field="framework", remedy="say which: onnx, xgboost, python"
        )
    if known == "xgboost":
        return booster_from_file(path)
    if known not in ("onnx", "python"):
        raise BundleError(f"{known} takes no file", field="framework", remedy="use onnx, xgboost or python")

    def write(folder: Path, file: str) -> None:
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True, ignore=_LEFT_OUT)
        else:
            usual = _USUAL.get(known, path.name)
            shutil.copyfile(path, folder / (file or usual))

    return Source(known, write, libraries=_LIBRARIES[known])


def copied_names(folder: Path) -> list[str]:
    """Paths of all files below a staged folder, with / between names."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(map(is_hidden, path.parts)))
