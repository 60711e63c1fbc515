"""Folders written aside under a hidden name, to be renamed when they are whole."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# What a killed process left behind is removed by a later one, once it is certainly nobody's any more.
_STALE_S: Final = 24 * 3600.0


@contextmanager
def aside(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, removed on leaving unless it was renamed. Also removes leftovers of a day ago."""
    _remove_stale(parent, prefix, time.time())
    folder = parent / f"{prefix}{secrets.token_hex(8)}"
    folder.mkdir()  # with the permissions the user's umask gives, which the renamed folder keeps
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path, prefix: str, now_s: float) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            if now_s - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Every file and folder below, and itself, down to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """A file's content, or a folder's names, down to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
