"""From a model folder, local or remote, to a bundle in hand."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from serving.bundle.check import check_folder
from serving.bundle.manifest import IncompleteBundle
from serving.bundle.open import open_bundle
from serving.errors import BundleError, ConfigurationError
from serving.spec import ModelSpec
from tests.serving.bundle.makers import pack_echo, write_triton

TRITON = 'backend: "onnxruntime" max_batch_size: 8'


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    """URL of a model in fsspec's memory store, copied from a packed one."""
    pack_echo(tmp_path / "source")
    url = f"memory://{uuid.uuid4().hex}/pets"
    fs, root = fsspec.core.url_to_fs(url)
    fs.put(str(tmp_path / "source" / "pets"), root, recursive=True)
    yield url
    fs.rm(root.rpartition("/")[0], recursive=True)


def write_remote(url: str, path: str, raw: bytes) -> None:
    fs, root = fsspec.core.url_to_fs(url)
    fs.pipe(f"{root}/{path}", raw)


def test_a_local_version_is_opened_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied; name, version, definition and digest are those published."""
    packed = pack_echo(tmp_path)
    bundle = open_bundle(str(tmp_path / "pets"), "1", cache=tmp_path / "cache")
    assert bundle.spec == ModelSpec("pets", "1")
    assert bundle.folder == packed.folder
    assert bundle.digest == packed.digest
    assert bundle.definition.framework == "echo"
    assert not (tmp_path / "cache").exists()


def test_a_file_url_is_a_local_folder(tmp_path: Path) -> None:
    """file:// is opened in place too."""
    packed = pack_echo(tmp_path)
    assert open_bundle(f"file://{tmp_path}/pets", "1").folder == packed.folder


@pytest.mark.parametrize(("version", "text"), [("2", "no version '2'; there are 1"), ("../pets/1", "no version")])
def test_an_unknown_version_is_refused_with_those_there_are(tmp_path: Path, version: str, text: str) -> None:
    """Also one that is a path."""
    pack_echo(tmp_path)
    with pytest.raises(BundleError, match=text):
        open_bundle(tmp_path / "pets", version)


def test_a_missing_folder_is_an_error_of_the_bundle(tmp_path: Path) -> None:
    """Not a traceback of the file system."""
    with pytest.raises(BundleError, match="pets: cannot be read"):
        open_bundle(tmp_path / "pets", "1")


def test_a_definition_for_another_name_is_refused(tmp_path: Path) -> None:
    """A folder copied under another name would answer under the wrong one."""
    pack_echo(tmp_path)
    shutil.copytree(tmp_path / "pets", tmp_path / "dogs")
    with pytest.raises(BundleError, match=r"model\.yaml\.name: is 'pets', but the folder is 'dogs'"):
        open_bundle(tmp_path / "dogs", "1")


def test_a_model_without_definition_is_refused(tmp_path: Path) -> None:
    """A packed version is never taken for Triton's, whatever its files are called."""
    pack_echo(tmp_path)
    (tmp_path / "pets" / "model.yaml").unlink()
    (tmp_path / "pets" / "1" / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.yaml: is missing"):
        open_bundle(tmp_path / "pets", "1")


@pytest.mark.parametrize("config", [TRITON, None])
def test_tritons_layout_opens_without_manifest(tmp_path: Path, config: str | None) -> None:
    """With config.pbtxt or, as with Triton's auto-complete, without; the digest is of the files."""
    folder = write_triton(tmp_path, "twice", config)
    bundle = open_bundle(folder, "1")
    assert bundle.definition.framework == "onnx"
    assert bundle.file("other").name == "model.onnx"
    (folder / "1" / "model.onnx").write_bytes(b"other")
    assert open_bundle(folder, "1").digest != bundle.digest


def test_long_files_of_tritons_layout_are_read_whole_or_refused(tmp_path: Path) -> None:
    """Neither a long config.pbtxt nor a long file of labels is cut off: past its limit it is refused by name."""
    padding = "# " + "x" * (2 * 1024 * 1024) + "\n"
    output = 'output { name: "y" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }'
    tensors = f'input {{ name: "x" data_type: TYPE_FP32 dims: [3] }} {output}'
    folder = write_triton(tmp_path, "twice", f"{padding}{TRITON} {tensors}")
    names = [f"class-{number:06}" for number in range(200_000)]
    (folder / "labels.txt").write_text("\n".join(names))
    assert open_bundle(folder, "1").definition.outputs[0].labels == tuple(names)
    (folder / "labels.txt").write_text("\n".join(names * 2))
    with pytest.raises(BundleError, match=r"labels.txt: has more than 4194304 bytes"):
        open_bundle(folder, "1")


def test_a_remote_version_is_copied_once_for_its_content(remote: str, tmp_path: Path) -> None:
    """The copy lies under its digest, is used again, and nothing hidden is left."""
    cache = tmp_path / "cache"
    first = open_bundle(remote, "1", cache=cache)
    assert [path.name for path in cache.iterdir()] == [first.digest]
    assert check_folder(first.folder)[1] == first.digest
    stamp = first.folder.stat().st_mtime_ns
    assert open_bundle(remote, "1", cache=cache) == first
    assert first.folder.stat().st_mtime_ns == stamp


def test_a_damaged_copy_is_fetched_again(remote: str, tmp_path: Path) -> None:
    """The cache is not trusted."""
    first = open_bundle(remote, "1", cache=tmp_path)
    (first.folder / "golden.parquet").write_bytes(b"damaged")
    again = open_bundle(remote, "1", cache=tmp_path)
    assert check_folder(again.folder)[1] == first.digest


def test_a_remote_file_with_another_digest_leaves_nothing_behind(remote: str, tmp_path: Path) -> None:
    """The transfer is checked as it comes, and the temporary folder is removed upon failure."""
    fs, root = fsspec.core.url_to_fs(remote)
    raw = bytearray(fs.cat(f"{root}/1/golden.parquet"))
    raw[-1] ^= 1
    write_remote(remote, "1/golden.parquet", bytes(raw))
    with pytest.raises(BundleError, match=r"golden\.parquet: digest differs"):
        open_bundle(remote, "1", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_remote_file_that_is_too_long_is_not_written_in_full(remote: str, tmp_path: Path) -> None:
    """A lying store cannot fill the disk."""
    write_remote(remote, "1/golden.parquet", b"x" * 100_000)
    with pytest.raises(BundleError, match=r"golden\.parquet: has 100000 bytes, expected \d+"):
        open_bundle(remote, "1", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("path", "size"), [("1/golden.parquet", 10), ("1/MANIFEST.json", 50)])
def test_a_remote_upload_under_way_is_incomplete(remote: str, tmp_path: Path, path: str, size: int) -> None:
    """Short files and a short manifest are told apart from wrong ones there too."""
    fs, root = fsspec.core.url_to_fs(remote)
    write_remote(remote, path, fs.cat(f"{root}/{path}")[:size])
    with pytest.raises(IncompleteBundle):
        open_bundle(remote, "1", cache=tmp_path / "cache")
    fs.rm(f"{root}/{path}")
    with pytest.raises(IncompleteBundle):
        open_bundle(remote, "1", cache=tmp_path / "cache")


def test_tritons_layout_is_fetched_too(tmp_path: Path) -> None:
    """Without a manifest the copy is named by the digest of what came."""
    write_triton(tmp_path / "source", "twice", TRITON)
    url = f"memory://{uuid.uuid4().hex}/twice"
    fs, root = fsspec.core.url_to_fs(url)
    fs.put(str(tmp_path / "source" / "twice"), root, recursive=True)
    local = open_bundle(tmp_path / "source" / "twice", "1")
    bundle = open_bundle(url, "1", cache=tmp_path / "cache")
    assert bundle.digest == local.digest
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [bundle.digest]
    assert open_bundle(url, "1", cache=tmp_path / "cache") == bundle


def test_urls_that_nothing_here_reads_are_a_wrong_setting() -> None:
    """An unknown protocol is said at once, with what is missing."""
    with pytest.raises(ConfigurationError, match="cannot read nosuch URLs"):
        open_bundle("nosuch://bucket/pets", "1")
