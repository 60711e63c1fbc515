"""Every byte of a packed version matters: each way to damage one is told apart."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.bundle.check import check_folder, listing_digest
from serving.bundle.manifest import IncompleteBundle
from serving.bundle.pack import pack
from serving.errors import BundleError
from tests.serving.bundle.makers import doubling_model, pack_echo


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder with model.onnx, a manifest and golden examples."""
    return pack(doubling_model(), name="pets", repository=tmp_path, golden_inputs=[[1.0, 2.0, 3.0]]).folder


def test_an_untouched_version_passes_and_its_digest_is_the_manifests(version: Path, tmp_path: Path) -> None:
    """The digest names the content: the same after a copy, another for another model."""
    manifest, digest = check_folder(version)
    assert set(manifest.files) == {"model.onnx", "golden.parquet"}
    assert manifest.golden_rows == 1
    other = pack_echo(tmp_path, "other").folder
    assert check_folder(other)[1] != digest


@pytest.mark.parametrize("file", ["model.onnx", "golden.parquet"])
@pytest.mark.parametrize("position", [0, 1, -1])
def test_one_flipped_bit_is_found_wherever_it_is(version: Path, file: str, position: int) -> None:
    """Same size, other content: the file, both digests and the remedy are named."""
    raw = bytearray((version / file).read_bytes())
    raw[position] ^= 1
    (version / file).write_bytes(raw)
    with pytest.raises(BundleError, match=rf"{file}: digest differs, expected sha256 \w+, got \w+; publish again with"):
        check_folder(version)


def cut(version: Path) -> None:
    os.truncate(version / "model.onnx", 20)


def delete(version: Path) -> None:
    (version / "model.onnx").unlink()


def lose_manifest(version: Path) -> None:
    (version / "MANIFEST.json").unlink()


def cut_manifest(version: Path) -> None:
    os.truncate(version / "MANIFEST.json", 200)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (cut, r"^model\.onnx has 20 of \d+ bytes so far; wait for the copy"),
        (delete, r"^model\.onnx is missing, 0 of \d+ bytes so far"),
        (lose_manifest, r"^MANIFEST\.json is missing: the copy is not complete"),
        (cut_manifest, r"^MANIFEST\.json: ends early, after 200 bytes"),
    ],
)
def test_a_copy_under_way_is_incomplete_not_wrong(version: Path, damage: Callable[[Path], None], text: str) -> None:
    """What waiting may cure has an error of its own, which says how far the copy is."""
    damage(version)
    with pytest.raises(IncompleteBundle, match=text):
        check_folder(version)


def test_a_file_that_is_too_long_is_wrong(version: Path) -> None:
    """More bytes than published are no copy under way."""
    with (version / "model.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match=r"model\.onnx: has \d+ bytes, expected \d+") as caught:
        check_folder(version)
    assert not isinstance(caught.value, IncompleteBundle)


@pytest.mark.parametrize("path", ["extra.bin", "sub/extra.bin", "__pycache__/model.cpython-311.pyc", ".hidden"])
def test_a_file_that_was_not_published_is_refused(version: Path, path: str) -> None:
    """Nothing can be slipped in beside the model, compiled Python least of all."""
    (version / path).parent.mkdir(exist_ok=True)
    (version / path).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf"{path}: is not in MANIFEST\.json; remove it"):
        check_folder(version)


def test_litter_of_file_browsers_is_ignored(version: Path) -> None:
    """A look into the folder with a desktop does not take a model out of service."""
    digest = check_folder(version)[1]
    for name in (".DS_Store", "Thumbs.db", "._model.onnx"):
        (version / name).write_bytes(b"x")
    assert check_folder(version)[1] == digest


def test_links_out_of_the_folder_are_refused(version: Path, tmp_path: Path) -> None:
    """Neither a file nor a folder elsewhere becomes part of a bundle, even if its content were right."""
    outside = tmp_path / "outside.onnx"
    (version / "model.onnx").rename(outside)
    (version / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"model\.onnx: is a link out of the version folder"):
        check_folder(version)
    (version / "model.onnx").unlink()
    (version / "model.onnx").symlink_to(tmp_path)
    with pytest.raises(BundleError, match=r"model\.onnx: is a link out of the version folder"):
        check_folder(version)


def test_links_within_the_folder_and_to_the_folder_are_followed(version: Path, tmp_path: Path) -> None:
    """A mounted volume may keep a version behind a link; inside it, a link to a published file is that file."""
    linked = tmp_path / "linked"
    linked.symlink_to(version)
    (version / "model.onnx").rename(version / ".DS_Store")
    (version / "model.onnx").symlink_to(".DS_Store")
    assert "model.onnx" in check_folder(linked)[0].files


def test_pipes_are_refused(version: Path) -> None:
    """Something that is neither file nor folder would block whoever opens it."""
    os.mkfifo(version / "pipe")
    with pytest.raises(BundleError, match="pipe: is neither a file nor a folder"):
        check_folder(version)


def test_a_manifest_cannot_name_a_file_outside(version: Path) -> None:
    """A path with .. is refused before anything is opened."""
    values = json.loads((version / "MANIFEST.json").read_text())
    values["files"]["../../model.yaml"] = values["files"]["model.onnx"]
    (version / "MANIFEST.json").write_text(json.dumps(values))
    with pytest.raises(BundleError, match="must be a relative path"):
        check_folder(version)


def test_a_version_without_manifest_is_named_by_its_content(tmp_path: Path) -> None:
    """The digest of a listing changes with a name or a byte, and not with litter."""
    (tmp_path / "model.onnx").write_bytes(b"abc")
    first = listing_digest(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert listing_digest(tmp_path) == first
    (tmp_path / "model.onnx").write_bytes(b"abd")
    second = listing_digest(tmp_path)
    (tmp_path / "model.onnx").rename(tmp_path / "other.onnx")
    assert len({first, second, listing_digest(tmp_path)}) == 3


def test_an_empty_version_without_manifest_is_incomplete(tmp_path: Path) -> None:
    """A folder that was just made is the beginning of a copy."""
    with pytest.raises(IncompleteBundle, match="empty so far"):
        listing_digest(tmp_path)
