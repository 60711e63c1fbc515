"""Which versions a path of `dodona verify` means."""

from collections.abc import Iterator
from pathlib import Path

from dodona.cli.exits import UsageError
from serving.bundle.layout import DEFINITION_FILE, TRITON_FILE
from serving.bundle.repository import Repository
from serving.bundle.verify import VerifyReport, verify


def reports(path: str) -> Iterator[VerifyReport]:
    """A version, a model (its newest version) or a repository (every version). Raises UsageError."""
    if "://" in path:
        yield verify(path)
        return
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{path} is no folder; name a repository, a model or a version in it")
    if _is_model(folder):
        yield verify(folder)
    elif _is_model(folder.absolute().parent):
        yield verify(folder.absolute().parent, folder.name)
    else:
        yield from _repository(path)


def _is_model(folder: Path) -> bool:
    return (folder / DEFINITION_FILE).exists() or (folder / TRITON_FILE).exists()


def _repository(path: str) -> Iterator[VerifyReport]:
    repository = Repository(path)
    entries = list(repository.scan().entries())
    if not entries:
        raise UsageError(f"there is no model in {path}; make one with `dodona pack FILE --name NAME`")
    for entry in entries:
        yield verify(repository.model_folder(entry.spec.name), entry.spec.version or None)
