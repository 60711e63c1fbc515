"""Remote versions, copied to this machine once for each content.

A copy is written aside, under a hidden name that no other process uses, checked, and renamed to its digest; so a folder
whose name is a digest is always whole, and two processes that fetch the same version at once do not disturb each other.
Whatever happens, the hidden folder is removed. A copy found in the cache is checked again before it is used.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from serving.bundle.aside import aside
from serving.bundle.check import check_file, check_folder, listing_digest
from serving.bundle.layout import MANIFEST_FILE, safe_path
from serving.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    IncompleteBundle,
    digest_of,
    parse_manifest,
    what_is_missing,
)
from serving.bundle.store import Store, read
from serving.bundle.tree import File, Folder, files_in
from serving.errors import BundleError

_PREFIX: Final = ".fetching-"
_CHUNK_BYTES: Final = 4 * 1024 * 1024


def default_cache() -> Path:
    """The folder for fetched versions: below XDG_CACHE_HOME, or .cache in the user's home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "dodona", "bundles")


def fetch(store: Store, version: str, folder: Folder, packed: bool, cache: Path) -> tuple[Path, str]:
    """The local copy of a version and its digest. Raises IncompleteBundle, BundleError, OSError."""
    cache.mkdir(parents=True, exist_ok=True)
    files = dict(files_in(folder))
    if packed:
        return _fetch_packed(store, version, files, cache)
    with aside(cache, _PREFIX) as copy:
        for path in files:
            _copy(store, version, path, copy, None)
        digest = listing_digest(copy)
        return _keep(copy, cache / digest), digest


def _fetch_packed(store: Store, version: str, files: Mapping[str, File], cache: Path) -> tuple[Path, str]:
    if MANIFEST_FILE not in files:
        raise IncompleteBundle(f"{MANIFEST_FILE} is missing: the copy is not complete", remedy="copy it last")
    raw = read(store, f"{version}/{MANIFEST_FILE}", MAX_MANIFEST_BYTES)
    manifest, digest = parse_manifest(raw), digest_of(raw)
    kept = cache / digest
    if _is_right(kept):
        return kept, digest
    missing = what_is_missing(manifest, {path: file.size for path, file in files.items()})
    if missing:
        raise IncompleteBundle(missing, remedy="wait for the copy to finish, or copy the version again")
    with aside(cache, _PREFIX) as copy:
        (copy / MANIFEST_FILE).write_bytes(raw)
        for path, entry in manifest.files.items():
            _copy(store, version, path, copy, entry)
        return _keep(copy, kept), digest


def _is_right(kept: Path) -> bool:
    """Whether the cache holds the version undamaged; a damaged copy is removed."""
    if not kept.is_dir():
        return False
    try:
        check_folder(kept)
    except BundleError:
        shutil.rmtree(kept, ignore_errors=True)
        return False
    return True


def _keep(copy: Path, kept: Path) -> Path:
    with suppress(OSError):  # another process was first: its copy has the same content
        os.rename(copy, kept)
    if not kept.is_dir():
        raise BundleError("the fetched version cannot be kept", field="cache", remedy="check the cache folder")
    return kept


def _copy(store: Store, version: str, path: str, folder: Path, entry: FileEntry | None) -> None:
    """Never writes more than the manifest announces."""
    try:
        target = folder / safe_path(path)
    except ValueError as error:
        raise BundleError(str(error), field=path, remedy="rename it") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    sha256, size = hashlib.sha256(), 0
    with store.open(f"{version}/{path}") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK_BYTES):
            size += len(chunk)
            if entry is not None and size > entry.bytes:
                break
            sha256.update(chunk)
            copy.write(chunk)
    if entry is not None:
        check_file(path, entry, size, sha256.hexdigest())
