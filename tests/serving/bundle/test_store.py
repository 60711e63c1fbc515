import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serving.bundle.store import MAX_DEPTH, LocalStore, RemoteStore, read, store_for
from serving.bundle.tree import File, files_in, fingerprint, own_files, subfolders
from serving.errors import BundleError


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


FILES = ("pets/model.yaml", "pets/1/model.onnx", "pets/1/deep/er/x", "dogs/model.yaml", "loose.txt")


def test_local_and_remote_trees_are_the_same(tmp_path: Path) -> None:
    """Names, nesting and sizes; only the stamps are each store's own."""
    put(tmp_path, *FILES)
    url = f"memory://{uuid.uuid4().hex}"
    fs, root = fsspec.core.url_to_fs(url)
    fs.put(str(tmp_path), root, recursive=True)
    local, remote = store_for(tmp_path), store_for(url)
    assert sizes(local.folder()) == sizes(remote.folder()) == {path: len(path) for path in FILES}
    assert [name for name, _ in local.folders()] == [name for name, _ in remote.folders()] == ["dogs", "pets"]
    for store in (local, remote):
        assert read(store, "pets/1/model.onnx", 100) == b"pets/1/model.onnx"
        with pytest.raises(BundleError, match=r"model.onnx: has more than 4 bytes"):
            read(store, "pets/1/model.onnx", 4)
        with pytest.raises(FileNotFoundError):
            read(store, "pets/2/model.onnx", 4)
    assert local.local == tmp_path
    assert remote.local is None
    assert remote.name == root.strip("/")


def sizes(folder: Any) -> dict[str, int]:
    return {path: file.size for path, file in files_in(folder)}


def test_a_tree_tells_files_from_folders(tmp_path: Path) -> None:
    """Own files, subfolders and a fingerprint that ignores litter."""
    put(tmp_path, *FILES)
    folder = store_for(tmp_path / "pets").folder()
    assert set(own_files(folder)) == {"model.yaml"}
    assert set(subfolders(folder)) == {"1"}
    before = fingerprint(files_in(folder))
    put(tmp_path, "pets/.DS_Store", "pets/1/Thumbs.db")
    assert fingerprint(files_in(store_for(tmp_path / "pets").folder())) == before


def test_loops_and_dangling_links_end(tmp_path: Path) -> None:
    """A link to a folder is followed to a version, not for ever; a link to nothing is not there."""
    put(tmp_path, "pets/1/model.onnx")
    (tmp_path / "pets" / "latest").symlink_to("1")
    (tmp_path / "pets" / "1" / "loop").symlink_to("..")
    (tmp_path / "pets" / "gone").symlink_to("nowhere")
    folder = store_for(tmp_path / "pets").folder()
    assert set(folder) == {"1", "latest"}
    assert set(sizes(folder)) == {"1/model.onnx", "1/loop", "latest/model.onnx", "latest/loop"}


def test_folders_deeper_than_any_framework_makes_are_not_walked(tmp_path: Path) -> None:
    """The walk is bounded."""
    deep = "/".join(["d"] * (MAX_DEPTH + 3))
    put(tmp_path, f"{deep}/x", "y")
    assert set(sizes(LocalStore(tmp_path).folder())) == {"y"}


def test_links_that_lead_round_and_pipes_are_not_there(tmp_path: Path) -> None:
    """Neither an endless link nor a pipe that nobody fills can stop a scan."""
    put(tmp_path, "pets/model.yaml")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "pets" / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pets" / "pipe")
    assert [name for name, _ in store_for(tmp_path).folders()] == ["pets"]
    assert set(store_for(tmp_path / "pets").folder()) == {"model.yaml"}


class Listing(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that answers `find` with what the test says, as one of the object stores would."""

    found: dict[str, dict[str, Any]]

    def find(self, path: str, **options: Any) -> dict[str, dict[str, Any]]:
        return self.found


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (
            {"size": 3, "ETag": '"abc"', "LastModified": datetime(2024, 1, 1, tzinfo=UTC)},
            File(3, '"abc"', 1704067200.0),
        ),
        ({"size": 3, "etag": "e", "updated": "2024-01-01T00:00:00+00:00"}, File(3, "e", 1704067200.0)),
        ({"size": 3, "mtime": 5.5}, File(3, "5.5", 5.5)),
        ({"size": None}, File(-1, "", 0.0)),
        ({"size": 3, "updated": "yesterday"}, File(3, "yesterday", 0.0)),
    ],
)
def test_each_store_says_in_its_own_words_when_a_file_changed(details: dict[str, Any], expected: File) -> None:
    """ETags and times of S3, Google and others are understood; what is not said is known to be unknown."""
    fs = Listing(skip_instance_cache=True)
    fs.found = {"bucket/pets/model.yaml": details, "bucket/pets/model.yaml/odd": details}
    folder = RemoteStore(fs, "bucket/pets/").folder()
    assert folder == {"model.yaml": {"odd": expected}}
