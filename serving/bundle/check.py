"""A version folder on this machine against its manifest, before any framework opens it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving.bundle.layout import MANIFEST_FILE, is_harmless
from serving.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    IncompleteBundle,
    Manifest,
    digest_of,
    parse_manifest,
    what_is_missing,
)
from serving.errors import BundleError

_AGAIN: Final = "publish again with dodona pack"
_WAIT: Final = "wait for the copy to finish, or copy the version again"


def check_folder(folder: Path) -> tuple[Manifest, str]:
    """The manifest of a version folder and the bundle's digest, after every file proved right.

    Sizes are compared first, so that a copy under way costs no hashing. Raises IncompleteBundle while something is
    missing; BundleError for a wrong size or digest, a file that is not in the manifest, or a link that leaves the
    folder.
    """
    raw = read_manifest(folder)
    manifest = parse_manifest(raw)
    sizes = listing(folder)
    missing = what_is_missing(manifest, sizes)
    if missing:
        raise IncompleteBundle(missing, remedy=_WAIT)
    _check_names(manifest, sizes)
    for path, entry in manifest.files.items():
        check_file(path, entry, sizes[path], file_digest(folder / path))
    return manifest, digest_of(raw)


def read_manifest(folder: Path) -> bytes:
    """Raises IncompleteBundle if there is none."""
    try:
        with (folder / MANIFEST_FILE).open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise IncompleteBundle(
            f"{MANIFEST_FILE} is missing: the copy is not complete", remedy="copy it last, or use dodona pack"
        ) from None


def check_file(path: str, entry: FileEntry, size: int, sha256: str) -> None:
    """Raises IncompleteBundle if the file is too short, BundleError if size or digest are not the manifest's."""
    if size < entry.bytes:
        raise IncompleteBundle(f"{path} has {size} of {entry.bytes} bytes so far", remedy=_WAIT)
    if size != entry.bytes:
        raise BundleError(f"has {size} bytes, expected {entry.bytes}", field=path, remedy=_AGAIN)
    if sha256 != entry.sha256:
        raise BundleError(f"digest differs, expected sha256 {entry.sha256}, got {sha256}", field=path, remedy=_AGAIN)


def _check_names(manifest: Manifest, sizes: dict[str, int]) -> None:
    for path in sizes:
        if path != MANIFEST_FILE and path not in manifest.files and not is_harmless(path):
            raise BundleError(f"is not in {MANIFEST_FILE}", field=path, remedy=f"remove it, or {_AGAIN}")


def file_digest(path: Path) -> str:
    """sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing_digest(folder: Path) -> str:
    """Digest of a version without a manifest: sha256 over the names, sizes and sha256 of its files. Raises as
    `listing` does, and IncompleteBundle for an empty folder."""
    sizes = {path: size for path, size in listing(folder).items() if not is_harmless(path)}
    if not sizes:
        raise IncompleteBundle("the version is empty so far", remedy="wait for the copy")
    lines = [f"{path}\0{size}\0{file_digest(folder / path)}\n" for path, size in sorted(sizes.items())]
    return digest_of("".join(lines).encode())


def listing(folder: Path) -> dict[str, int]:
    """Size in bytes of every file at any depth, by its path. Raises BundleError for anything but files and folders,
    and for a link to a folder or out of the version folder."""
    return dict(_walk(folder, "", os.path.realpath(folder)))


def _walk(folder: Path, prefix: str, root: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{path}/", root)
                continue
            if entry.is_symlink() and not os.path.realpath(entry.path).startswith(root + os.sep):
                raise BundleError("is a link out of the version folder", field=path, remedy="copy the file itself")
            if not entry.is_file():
                raise BundleError("is neither a file nor a folder", field=path, remedy="remove it")
            yield path, entry.stat().st_size
