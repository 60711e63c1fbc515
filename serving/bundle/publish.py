"""Publishing: a bundle written aside becomes visible in one step, whole or not at all.

Everything is written and synced to the disk in a hidden folder of the repository, then renamed: a new model as one
folder, a new version of a known model into its folder. A rename onto a version that exists fails, so of two publishers
of the same version one wins. Killed at any point, a publisher leaves the repository as it was, or with the version
complete; what it leaves in the hidden folder is removed by a later one.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving.bundle.aside import sync, sync_folder
from serving.bundle.layout import DEFINITION_FILE
from serving.errors import BundleError
from serving.spec import ModelSpec
from serving.status import Status

_EXISTS: Final = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


class VersionTaken(BundleError):
    """The version is published already, perhaps a moment ago by someone else."""

    status = Status.ALREADY_EXISTS


class Overtaken(BundleError):
    """Someone else published or edited the model while this version was being packed."""

    status = Status.ABORTED


def taken(spec: ModelSpec) -> VersionTaken:
    return VersionTaken(
        f"version {spec.version} of {spec.name} exists already",
        field="version",
        remedy="published versions never change: leave the version out to get the next one, or remove the old one",
    )


def definition_bytes(repository: Path, name: str) -> bytes | None:
    """The model.yaml that is there, to be compared when publishing; None if there is none."""
    path = repository / name / DEFINITION_FILE
    return path.read_bytes() if path.exists() else None


def publication(staged: Path, repository: Path, spec: ModelSpec, before: bytes | None) -> Iterator[str]:
    """Publishes `staged`, a folder in `repository` that holds the version's folder and, if it is new or changes, a
    model.yaml. `before` is the model.yaml that the new one was made from. Yields the name of each step when it is
    done. Raises VersionTaken, Overtaken, OSError."""
    sync_folder(staged)
    yield "synced"
    if definition_bytes(repository, spec.name) != before:
        raise _overtaken(spec)
    target = repository / spec.name
    if not target.exists():
        _rename(staged, target, _overtaken(spec))
        yield "model renamed"
        sync(repository)
        yield "repository synced"
        return
    _rename(staged / spec.version, target / spec.version, taken(spec))
    yield "version renamed"
    definition = staged / DEFINITION_FILE
    if definition.exists():
        os.replace(definition, target / DEFINITION_FILE)
        yield "definition replaced"
    sync(target)
    yield "model synced"


def _overtaken(spec: ModelSpec) -> Overtaken:
    return Overtaken(f"{spec.name} was changed by someone else while it was packed", remedy="pack it again")


def _rename(source: Path, target: Path, lost: BundleError) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in _EXISTS:
            raise lost from error
        raise
