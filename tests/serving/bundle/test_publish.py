"""Publishing killed between any two steps, and publishers that meet."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from serving.bundle.aside import aside
from serving.bundle.check import check_folder
from serving.bundle.layout import PUBLISHING_PREFIX
from serving.bundle.packing import Packed
from serving.bundle.publish import Overtaken, VersionTaken, definition_bytes, publication
from serving.bundle.repository import Repository
from serving.bundle.snapshot import VersionState
from serving.errors import BundleError
from serving.spec import ModelSpec
from serving.status import Status
from tests.serving.bundle.makers import pack_echo


def staged(repository: Path, source: Path, version: str) -> Path:
    """What a packer has written aside when it begins to publish."""
    folder = repository / f"{PUBLISHING_PREFIX}pets-x"
    folder.mkdir()
    shutil.copytree(source / "pets" / "1", folder / version)
    shutil.copy(source / "pets" / "model.yaml", folder)
    return folder


def begin(tmp_path: Path, version: str) -> tuple[Path, Iterator[str]]:
    repository = tmp_path / "models"
    source = tmp_path / "source"
    pack_echo(source, description="new")
    folder = staged(repository, source, version)
    before = definition_bytes(repository, "pets")
    return repository, publication(folder, repository, ModelSpec("pets", version), before)


def visible(repository: Path) -> dict[str, VersionState]:
    return {str(entry.spec): entry.state for entry in Repository(repository).scan().entries()}


@pytest.mark.parametrize("steps_done", range(4))
def test_a_new_model_killed_after_any_step_is_whole_or_not_there(tmp_path: Path, steps_done: int) -> None:
    """Nothing in between is ever visible, and what is visible has the right digests."""
    (tmp_path / "models").mkdir()
    repository, publishing = begin(tmp_path, "1")
    for _ in range(steps_done):
        next(publishing, "")
    seen = visible(repository)
    assert seen in ({}, {"pets/1": VersionState.COMPLETE})
    assert bool(seen) == (steps_done >= 2)
    if seen:
        check_folder(repository / "pets" / "1")


@pytest.mark.parametrize("steps_done", range(5))
def test_a_new_version_killed_after_any_step_is_whole_or_not_there(tmp_path: Path, steps_done: int) -> None:
    """The old version is whole all along, and its model.yaml is the old or the new one."""
    old = pack_echo(tmp_path / "models", description="old")
    repository, publishing = begin(tmp_path, "2")
    for _ in range(steps_done):
        next(publishing, "")
    seen = visible(repository)
    assert seen in (
        {"pets/1": VersionState.COMPLETE},
        {"pets/1": VersionState.COMPLETE, "pets/2": VersionState.COMPLETE},
    )
    assert ("pets/2" in seen) == (steps_done >= 2)
    assert check_folder(repository / "pets" / "1")[1] == old.digest
    model = Repository(repository).scan().models["pets"]
    assert model.definition is not None
    assert model.definition.description == ("new" if steps_done >= 3 else "old")


def test_a_version_that_exists_is_never_replaced(tmp_path: Path) -> None:
    """The second publisher learns that it lost, and the first one's files stay."""
    first = pack_echo(tmp_path / "models", description="new")
    repository, publishing = begin(tmp_path, "1")
    with pytest.raises(VersionTaken, match="version 1 of pets exists already; published versions never change") as lost:
        list(publishing)
    assert lost.value.status is Status.ALREADY_EXISTS
    assert check_folder(repository / "pets" / "1")[1] == first.digest


def test_a_publisher_that_was_overtaken_changes_nothing(tmp_path: Path) -> None:
    """A model.yaml that someone edited meanwhile is not overwritten."""
    pack_echo(tmp_path / "models", description="old")
    repository, publishing = begin(tmp_path, "2")
    next(publishing)
    (repository / "pets" / "model.yaml").write_text("name: pets\nframework: echo\nlabels: {stable: 1}\n")
    with pytest.raises(Overtaken, match="pack it again"):
        list(publishing)
    assert visible(repository).keys() == {"pets/1"}
    assert "stable" in (repository / "pets" / "model.yaml").read_text()


def together(count: int, repository: Path, version: str | None) -> list[Packed | BundleError]:
    """`count` publishers that begin at the same moment, and what became of each."""
    barrier = Barrier(count, timeout=30)
    outcomes: list[Packed | BundleError] = []

    def publish() -> None:
        barrier.wait()
        try:
            outcomes.append(pack_echo(repository, version=version))
        except BundleError as error:
            outcomes.append(error)

    threads = [Thread(target=publish) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


@pytest.mark.parametrize("known", [False, True])
def test_of_two_publishers_of_one_version_one_wins(tmp_path: Path, known: bool) -> None:
    """The other gets a clear error; the version is the winner's, whole."""
    if known:
        pack_echo(tmp_path)
    outcomes = together(4, tmp_path, "7")
    [winner] = [outcome for outcome in outcomes if isinstance(outcome, Packed)]
    assert sum(isinstance(outcome, VersionTaken) for outcome in outcomes) == 3
    assert check_folder(tmp_path / "pets" / "7")[1] == winner.digest
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_publishers_that_leave_the_number_to_us_all_publish(tmp_path: Path) -> None:
    """Each gets a version of its own, also when none of them knew the model."""
    outcomes = together(4, tmp_path, None)
    assert {outcome.spec.version for outcome in outcomes if isinstance(outcome, Packed)} == {"1", "2", "3", "4"}
    assert visible(tmp_path) == {f"pets/{number}": VersionState.COMPLETE for number in range(1, 5)}


def test_leftovers_of_a_killed_publisher_are_removed_a_day_later(tmp_path: Path) -> None:
    """By whoever publishes next; a younger folder may be someone at work and stays."""
    for name, age_s in (("old", 25 * 3600), ("young", 3600)):
        folder = tmp_path / f"{PUBLISHING_PREFIX}{name}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"x")
        stamp = folder.stat().st_mtime - age_s
        os.utime(folder, (stamp, stamp))
    with aside(tmp_path, PUBLISHING_PREFIX) as mine:
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, f"{PUBLISHING_PREFIX}young"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{PUBLISHING_PREFIX}young"}
