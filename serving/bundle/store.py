"""Where models lie: a folder of this machine, or any URL that fsspec can read (s3, gs, http, memory ...).

Both give the same trees of names, sizes and stamps. The local store walks with scandir, about three times as fast as
fsspec's; the remote one asks for a whole tree in one recursive listing, which object stores answer in pages of a
thousand names.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Any, Final, Protocol

import fsspec

from serving.bundle.tree import File, Folder, Listed
from serving.errors import BundleError, ConfigurationError

# Levels of folders below a model's that are looked at; deeper than any framework's files lie, and an end to loops.
MAX_DEPTH: Final = 12

# Removed while we looked, a link to nothing, a link that leads round in a circle.
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "created")
_STAMPS: Final = ("ETag", "etag", "md5Hash", "generation", *_TIMES)


class Store(Protocol):
    """Reads below one root. Every method raises OSError, FileNotFoundError among them."""

    name: str
    """Last name of the root: the model's, where the root is a model folder."""
    local: Path | None
    """The root on this machine's disk; None where it is remote."""

    def folder(self) -> Folder:
        """Everything below the root."""

    def folders(self) -> Iterator[tuple[str, Listed]]:
        """The root's folders one by one, or why one cannot be listed; hidden ones are left out."""

    def open(self, path: str) -> IO[bytes]:
        """The file at a path below the root."""


def read(store: Store, path: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes. Raises BundleError if it has more, OSError."""
    with store.open(path) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise BundleError(f"has more than {limit} bytes", field=path.rpartition("/")[2], remedy="make it smaller")
    return raw


def store_for(url: str | Path) -> Store:
    """Raises ConfigurationError: an unknown kind of URL, or the package that reads it is not installed."""
    text = os.fspath(url)
    if "://" not in text and "::" not in text:
        return LocalStore(Path(text))
    try:
        fs, root = fsspec.core.url_to_fs(text)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"cannot read {text.partition('://')[0]} URLs: {error}", field="repository", remedy="install what it names"
        ) from None
    return LocalStore(Path(root)) if "file" in _protocols(fs) else RemoteStore(fs, root)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


class LocalStore:
    def __init__(self, root: Path) -> None:
        self.local: Path | None = root
        self.name = root.absolute().name
        self._root = root

    def folder(self) -> Folder:
        return _walk(os.fspath(self._root), 0)

    def folders(self) -> Iterator[tuple[str, Listed]]:
        with os.scandir(self._root) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
        for name in names:
            try:
                yield name, _walk(os.path.join(self._root, name), 0)
            except FileNotFoundError:
                continue  # removed while we looked
            except OSError as error:
                yield name, error

    def open(self, path: str) -> IO[bytes]:
        return (self._root / path).open("rb")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _walk(path: str, depth: int) -> Folder:
    """Links to folders are followed to the versions, not inside them. Pipes and devices are not there."""
    found: Folder = {}
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=depth == 0):
                    if depth < MAX_DEPTH:
                        found[entry.name] = _walk(entry.path, depth + 1)
                    continue
                stat = entry.stat()
            except OSError as error:
                if error.errno in _NOT_THERE:
                    continue
                raise
            if S_ISREG(stat.st_mode) or S_ISDIR(stat.st_mode):
                changed_s = max(stat.st_mtime, stat.st_ctime)
                found[entry.name] = File(stat.st_size, stat.st_mtime_ns ^ stat.st_ino << 64, changed_s)
    return found


class RemoteStore:
    def __init__(self, fs: Any, root: str) -> None:
        self.local: Path | None = None
        self._fs = fs
        self._root = root.rstrip("/")
        self.name = self._root.rpartition("/")[2]

    def folder(self) -> Folder:
        self._fs.invalidate_cache()  # fsspec remembers listings
        tree: Folder = {}
        for full, details in self._fs.find(self._root, detail=True).items():
            names = full.rstrip("/").removeprefix(self._root).strip("/").split("/")
            if len(names) <= MAX_DEPTH + 2:
                _place(tree, names, _file(details))
        return tree

    def folders(self) -> Iterator[tuple[str, Listed]]:
        for name, entry in sorted(self.folder().items()):
            if not name.startswith(".") and not isinstance(entry, File):
                yield name, entry

    def open(self, path: str) -> IO[bytes]:
        opened: IO[bytes] = self._fs.open(f"{self._root}/{path}", "rb")
        return opened


def _place(tree: Folder, names: list[str], file: File) -> None:
    for name in names[:-1]:
        inner = tree.setdefault(name, {})
        if isinstance(inner, File):  # an object store may hold both `a` and `a/b`
            inner = tree[name] = {}
        tree = inner
    tree.setdefault(names[-1], file)


def _file(details: Mapping[str, Any]) -> File:
    size = details.get("size")
    stamp = next((str(details[key]) for key in _STAMPS if details.get(key) is not None), "")
    changed = next((details[key] for key in _TIMES if details.get(key) is not None), 0.0)
    return File(-1 if size is None else int(size), stamp, _seconds(changed))


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0.0
    return float(value) if isinstance(value, int | float) else 0.0
