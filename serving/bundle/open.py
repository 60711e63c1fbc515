"""From a model folder and a version to a Bundle in hand: fetched if remote, every digest checked."""

import os
from functools import partial
from pathlib import Path

from serving.bundle.bundle import Bundle
from serving.bundle.check import check_folder, listing_digest
from serving.bundle.definition import is_name
from serving.bundle.fetch import default_cache, fetch
from serving.bundle.model import ModelRead, read_model
from serving.bundle.store import Store, read, store_for
from serving.bundle.tree import Folder, subfolders
from serving.errors import BundleError
from serving.spec import ModelSpec


def open_bundle(model_folder: str | Path, version: str, *, cache: Path | None = None) -> Bundle:
    """`model_folder` is a folder or any URL that fsspec reads; a remote version is copied below `cache` (default: the
    user's cache folder), once for each content.

    Nothing is opened by a framework before this returns: sizes and digests of all files are right then. Raises
    IncompleteBundle while a copy is under way, BundleError saying what is wrong with which file and the remedy.
    """
    store = store_for(model_folder)
    try:
        folder = store.folder()
        model = read_model(store.name, folder, partial(read, store))
        _check_version(model, folder, version)
        where, digest = _version_folder(store, model, folder, version, cache)
    except OSError as error:
        raise BundleError(
            f"cannot be read: {error.strerror or type(error).__name__}", field=store.name, remedy="check that it exists"
        ) from error
    return Bundle(ModelSpec(store.name, version), model.definition, where, digest)


def _version_folder(
    store: Store, model: ModelRead, folder: Folder, version: str, cache: Path | None
) -> tuple[Path, str]:
    if store.local is None:
        return fetch(store, version, subfolders(folder)[version], model.packed, cache or default_cache())
    where = Path(os.path.abspath(store.local / version))
    return where, check_folder(where)[1] if model.packed else listing_digest(where)


def _check_version(model: ModelRead, folder: Folder, version: str) -> None:
    versions = model.versions(folder)
    if version not in versions or not is_name(version):
        known = f"there are {', '.join(versions)}" if versions else "there is none yet"
        raise BundleError(f"no version {version!r}; {known}", field=model.definition.name, remedy="name one of them")
