"""Repositories in remote stores, through fsspec."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from serving.bundle.repository import Repository
from serving.bundle.store import RemoteStore
from serving.bundle.tree import File, Folder, Listed
from tests.serving.bundle.makers import pack_echo
from tests.serving.bundle.scans import COMPLETE, INCOMPLETE, Clock, entry, states


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A repository with two versions of pets and one of dogs."""
    for name in ("pets", "pets", "dogs"):
        pack_echo(tmp_path, name)
    return tmp_path


@pytest.fixture
def bucket(packed: Path) -> Iterator[str]:
    """The packed repository in fsspec's memory store."""
    url = f"memory://{uuid.uuid4().hex}/models"
    fs, root = fsspec.core.url_to_fs(url)
    fs.put(str(packed), root, recursive=True)
    yield url
    fs.rm(root.rpartition("/")[0], recursive=True)


def test_a_remote_repository_is_seen_like_a_local_one(bucket: str) -> None:
    """Models, versions, states and changes, through fsspec."""
    repository = Repository(bucket, clock=Clock())
    first = repository.scan()
    assert states(first) == dict.fromkeys(["dogs/1", "pets/1", "pets/2"], COMPLETE)
    assert repository.scan() == first
    assert repository.model_folder("pets") == f"{bucket}/pets"
    fs, root = fsspec.core.url_to_fs(bucket)
    fs.pipe(f"{root}/pets/2/golden.parquet", b"short")
    fs.rm(f"{root}/dogs", recursive=True)
    second = repository.scan()
    assert states(second) == {"pets/1": COMPLETE, "pets/2": INCOMPLETE}
    assert "so far" in entry(second, "pets/2").reason


class Silent(RemoteStore):
    """A store that says neither sizes nor when a file changed, such as a plain web server."""

    def folders(self) -> Iterator[tuple[str, Listed]]:
        for name, listed in super().folders():
            yield name, _silent(listed) if not isinstance(listed, OSError) else listed


def _silent(folder: Folder) -> Folder:
    return {name: File(-1, "", 0.0) if isinstance(entry, File) else _silent(entry) for name, entry in folder.items()}


def test_changes_are_seen_where_the_store_says_nothing_about_files(bucket: str) -> None:
    """Definitions and manifests are read at every look then, and their content tells."""
    fs, root = fsspec.core.url_to_fs(bucket)
    repository = Repository(bucket, clock=Clock(), store=Silent(fs, root))
    first = repository.scan()
    assert states(first) == dict.fromkeys(["dogs/1", "pets/1", "pets/2"], COMPLETE)
    assert repository.scan() == first
    fs.pipe(f"{root}/pets/2/MANIFEST.json", fs.cat(f"{root}/pets/2/MANIFEST.json") + b"\n")
    second = repository.scan()
    assert states(second) == states(first)
    assert {str(one.spec) for one in second.entries()} - {
        str(one.spec) for one in second.entries() if one in list(first.entries())
    } == {"pets/2"}
