"""What a scan sees while models come, grow, break and go."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.bundle.repository import Repository
from serving.bundle.store import LocalStore
from serving.bundle.tree import Listed
from serving.errors import Unavailable
from tests.serving.bundle.makers import pack_echo, write_triton
from tests.serving.bundle.scans import BROKEN, COMPLETE, INCOMPLETE, Clock, entry, states


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A repository with two versions of pets and one of dogs."""
    for name in ("pets", "pets", "dogs"):
        pack_echo(tmp_path, name)
    return tmp_path


def test_a_scan_lists_models_and_versions_in_order(packed: Path) -> None:
    """Models by name, versions oldest first, with what is needed to open them."""
    for number in range(3, 12):
        shutil.copytree(packed / "pets" / "1", packed / "pets" / str(number))
    repository = Repository(packed)
    snapshot = repository.scan()
    assert list(snapshot.models) == ["dogs", "pets"]
    assert [seen.version for seen in snapshot.models["pets"].versions] == [str(number) for number in range(1, 12)]
    assert all(entry.state is COMPLETE and entry.definition is not None for entry in snapshot.entries())
    assert repository.model_folder("pets") == f"{packed}/pets"


def test_nothing_changed_gives_the_same_snapshot(packed: Path) -> None:
    """Equal, and for settled folders without reading anything again; so are the digests of another process."""
    repository = Repository(packed, clock=Clock())
    first = repository.scan()
    assert repository.scan() == first
    assert repository.scan().models["pets"] is first.models["pets"]
    other = Repository(packed).scan()
    assert [entry.digest for entry in other.entries()] == [entry.digest for entry in first.entries()]


def test_hidden_folders_and_loose_files_are_no_models(packed: Path) -> None:
    """What is being published, version control and a README beside the models are not seen."""
    shutil.copytree(packed / "pets", packed / ".publishing-pets-1")
    shutil.copytree(packed / "pets" / "1", packed / "pets" / ".publishing-3")
    (packed / ".git").mkdir()
    (packed / "README.md").write_text("models")
    assert states(Repository(packed).scan()) == dict.fromkeys(["dogs/1", "pets/1", "pets/2"], COMPLETE)


def test_a_version_is_complete_with_its_last_byte(packed: Path) -> None:
    """Copied file by file in any order and byte by byte, it is incomplete until all is there, and says why."""
    source, target = packed / "dogs" / "1", packed / "dogs" / "2"
    repository = Repository(packed)
    target.mkdir()
    reasons = []
    for name in ("MANIFEST.json", "golden.parquet"):
        raw = (source / name).read_bytes()
        for end in (0, len(raw) // 2, len(raw)):
            reasons.append(entry(repository.scan(), "dogs/2").reason)
            (target / name).write_bytes(raw[:end])
    assert [reason.split(";")[0] for reason in reasons] == [
        "MANIFEST.json is missing: the copy is not complete",
        "MANIFEST.json: ends early, after 0 bytes",
        f"MANIFEST.json: ends early, after {(source / 'MANIFEST.json').stat().st_size // 2} bytes",
        f"golden.parquet is missing, 0 of {len(raw)} bytes so far",
        f"golden.parquet has 0 of {len(raw)} bytes so far",
        f"golden.parquet has {len(raw) // 2} of {len(raw)} bytes so far",
    ]
    assert states(repository.scan())["dogs/2"] is COMPLETE


def test_a_broken_model_does_not_disturb_the_others(packed: Path) -> None:
    """Its own versions are broken for its reason; it recovers when the file is put right."""
    repository = Repository(packed, clock=Clock())
    right = (packed / "pets" / "model.yaml").read_text()
    before = entry(repository.scan(), "pets/1")
    (packed / "pets" / "model.yaml").write_text(right + "colour: red\n")
    broken = repository.scan()
    assert states(broken) == {"dogs/1": COMPLETE, "pets/1": BROKEN, "pets/2": BROKEN}
    assert entry(broken, "pets/1").reason.startswith("model.yaml.colour: unknown key")
    assert entry(broken, "pets/1").digest != before.digest
    assert repository.scan() == broken
    (packed / "pets" / "model.yaml").write_text(right)
    assert states(repository.scan())["pets/1"] is COMPLETE


def test_a_wrong_manifest_breaks_its_version_only(packed: Path) -> None:
    """Waiting will not help, so it is not called incomplete."""
    (packed / "pets" / "2" / "MANIFEST.json").write_text('{"files": 3}')
    snapshot = Repository(packed).scan()
    assert states(snapshot) == {"dogs/1": COMPLETE, "pets/1": COMPLETE, "pets/2": BROKEN}
    assert "MANIFEST.json" in entry(snapshot, "pets/2").reason


@pytest.mark.parametrize(
    ("folder", "spec", "text"),
    [("no model", "no model/", "is no model name"), ("empty", "empty/", "model.yaml: is missing")],
)
def test_folders_that_are_no_models_are_reported(packed: Path, folder: str, spec: str, text: str) -> None:
    """Under an empty version, with the remedy."""
    (packed / folder).mkdir()
    found = entry(Repository(packed).scan(), spec)
    assert found.state is BROKEN
    assert text in found.reason


def test_a_version_name_that_callers_could_not_use_is_reported(packed: Path) -> None:
    """A space would have to be escaped in a URL."""
    shutil.copytree(packed / "pets" / "1", packed / "pets" / "copy of 1")
    assert entry(Repository(packed).scan(), "pets/copy of 1").state is BROKEN


def test_every_change_of_a_file_changes_the_digest_of_its_version_only(packed: Path) -> None:
    """A watcher retries what changed and leaves the rest alone."""
    repository = Repository(packed, clock=Clock())
    before = {str(entry.spec): entry.digest for entry in repository.scan().entries()}
    golden = packed / "pets" / "2" / "golden.parquet"
    stat = golden.stat()
    os.utime(golden, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    after = {str(entry.spec): entry.digest for entry in repository.scan().entries()}
    assert {spec for spec in before if before[spec] != after[spec]} == {"pets/2"}


def test_a_file_rewritten_within_the_clock_tick_is_read_again(packed: Path) -> None:
    """Same size and same stamp, other content: while the file is fresh, nothing is believed from memory."""
    path = packed / "pets" / "model.yaml"
    stat = path.stat()
    repository = Repository(packed, clock=Clock(stat.st_mtime + 0.1))
    assert repository.scan().models["pets"].definition is not None
    path.write_text(path.read_text().replace("echo", "ohce"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert repository.scan().models["pets"].definition is None


def test_removed_models_and_versions_disappear(packed: Path) -> None:
    """The snapshot is what is there now."""
    repository = Repository(packed)
    repository.scan()
    shutil.rmtree(packed / "pets" / "1")
    shutil.rmtree(packed / "dogs")
    assert states(repository.scan()) == {"pets/2": COMPLETE}


def test_a_repository_that_cannot_be_listed_is_unavailable_not_empty(packed: Path) -> None:
    """A disk that went away must not look like an order to unload everything."""
    repository = Repository(packed)
    repository.scan()
    packed.rename(packed.with_name("gone"))
    with pytest.raises(Unavailable, match="cannot be listed: No such file or directory; check that it exists"):
        repository.scan()


class Failing(LocalStore):
    """A disk on which the folders in `failing` cannot be listed for now."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failing: set[str] = set()

    def folders(self) -> Iterator[tuple[str, Listed]]:
        for name, listed in super().folders():
            yield name, PermissionError(13, "Permission denied") if name in self.failing else listed


def test_a_model_that_cannot_be_listed_for_now_keeps_its_versions(packed: Path) -> None:
    """They are broken for that reason, not removed, and come back; a model never seen before is reported alone."""
    store = Failing(packed)
    repository = Repository(packed, clock=Clock(), store=store)
    store.failing = {"dogs"}
    assert states(repository.scan()) == {"dogs/": BROKEN, "pets/1": COMPLETE, "pets/2": COMPLETE}
    store.failing = set()
    before = repository.scan()
    store.failing = {"pets"}
    broken = repository.scan()
    assert states(broken) == {"dogs/1": COMPLETE, "pets/1": BROKEN, "pets/2": BROKEN}
    assert entry(broken, "pets/1").reason == "cannot be read: Permission denied"
    store.failing = set()
    assert repository.scan() == before


def test_a_file_that_cannot_be_read_is_read_again_at_the_next_look(packed: Path) -> None:
    """A fault of the disk is never remembered as a fault of the model."""
    path = packed / "dogs" / "model.yaml"
    path.rename(path.with_name("right.yaml"))
    path.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read
    repository = Repository(packed, clock=Clock())
    for _ in range(2):
        assert entry(repository.scan(), "dogs/").reason == "cannot be read: Input/output error"
    path.with_name("right.yaml").replace(path)
    assert states(repository.scan())["dogs/1"] is COMPLETE


def test_tritons_versions_must_settle(tmp_path: Path) -> None:
    """Without a manifest, a version is complete only when nothing has changed for a while."""
    write_triton(tmp_path, "twice", None, versions=("1", "2", "notes"))
    newest_s = max(path.stat().st_ctime for path in tmp_path.rglob("*"))
    clock = Clock(newest_s + 0.5)
    repository = Repository(tmp_path, settle_s=1.0, clock=clock)
    first = repository.scan()
    assert states(first) == {"twice/2": INCOMPLETE}
    assert "changed less than 1 s ago" in entry(first, "twice/2").reason
    clock.now_s += 0.6
    assert states(repository.scan()) == {"twice/2": COMPLETE}


def test_tritons_versions_settle_where_the_stores_clock_is_ahead(tmp_path: Path) -> None:
    """Then what counts is since when it has looked the same."""
    write_triton(tmp_path, "twice", "")
    clock = Clock(1000.0)
    repository = Repository(tmp_path, settle_s=1.0, clock=clock)
    assert states(repository.scan()) == {"twice/1": INCOMPLETE}
    clock.now_s += 0.9
    assert states(repository.scan()) == {"twice/1": INCOMPLETE}
    with (tmp_path / "twice" / "1" / "model.onnx").open("ab") as file:
        file.write(b"more")
    clock.now_s += 0.9
    assert states(repository.scan()) == {"twice/1": INCOMPLETE}
    clock.now_s += 1.0
    assert states(repository.scan()) == {"twice/1": COMPLETE}
    (tmp_path / "twice" / "README").write_text("a file beside the versions does not unsettle them")
    assert states(repository.scan()) == {"twice/1": COMPLETE}


def test_tritons_version_policy_is_obeyed(tmp_path: Path) -> None:
    """Only the newest by default, as Triton does; all or some where config.pbtxt says so."""
    for name, policy in (
        ("a", ""),
        ("b", "version_policy { all {} }"),
        ("c", "version_policy { latest { num_versions: 2 } }"),
        ("d", "version_policy { specific { versions: [1, 10, 11] } }"),
    ):
        write_triton(tmp_path, name, policy, versions=("1", "2", "10"))
    snapshot = Repository(tmp_path, clock=Clock()).scan()
    assert {name: [seen.version for seen in model.versions] for name, model in snapshot.models.items()} == {
        "a": ["10"],
        "b": ["1", "2", "10"],
        "c": ["2", "10"],
        "d": ["1", "10"],
    }


def test_an_empty_repository_has_no_models(tmp_path: Path) -> None:
    """Nothing there yet is no fault."""
    assert states(Repository(tmp_path).scan()) == {}
