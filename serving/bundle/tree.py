"""What lies in a model's folder, as plain values: the same for a local disk and for any remote store."""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from serving.bundle.layout import is_harmless


class File(NamedTuple):
    size: int
    """Bytes; -1 where the store does not say."""
    stamp: int | str
    """Changes when the content does: a modification time or an ETag; "" where the store does not say."""
    changed_s: float
    """Seconds since the epoch of the last change, 0 where the store does not say."""


Folder: TypeAlias = "dict[str, File | Folder]"
Listed: TypeAlias = "Folder | OSError"
Fingerprint: TypeAlias = tuple[tuple[str, int, int | str], ...]


def files_in(folder: Folder, prefix: str = "") -> Iterator[tuple[str, File]]:
    """Every file at any depth as (path, file), except those that file browsers leave behind."""
    for name, entry in folder.items():
        path = prefix + name
        if isinstance(entry, File):
            if not is_harmless(path):
                yield path, entry
        else:
            yield from files_in(entry, f"{path}/")


def own_files(folder: Folder) -> dict[str, File]:
    """The files directly in the folder."""
    return {name: entry for name, entry in folder.items() if isinstance(entry, File) and not is_harmless(name)}


def subfolders(folder: Folder) -> "dict[str, Folder]":
    return {name: entry for name, entry in folder.items() if not isinstance(entry, File)}


def fingerprint(files: Iterator[tuple[str, File]]) -> Fingerprint:
    """Names, sizes and stamps: equal as long as nothing changed. Cheap, and no proof of content."""
    return tuple(sorted((path, file.size, file.stamp) for path, file in files))
