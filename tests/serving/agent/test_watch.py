"""What the agent sees in a real repository, and how looks are delivered."""

import asyncio
import shutil

import pytest

from serving.agent.plan import Found
from serving.agent.watch import Watch, scan_of
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.bundle.repository import Repository
from serving.errors import Unavailable


@pytest.fixture
def repository(tmp_path):
    inputs = (TensorDefinition(name="x", datatype="FP32", shape=(2,)),)
    pack(None, framework="echo", name="echo", repository=tmp_path, inputs=inputs)
    return tmp_path


def only(scan) -> Found:
    (found,) = scan()
    return found


def test_a_version_as_found(repository):
    """Framework, absolute folders, no problem."""
    found = only(scan_of(Repository(repository)))
    assert (str(found.spec), found.framework, found.problem) == ("echo/1", "echo", "")
    assert found.model_folder == str(repository / "echo")


def test_relative_repository_gives_absolute_folders(repository, monkeypatch):
    """Workers need not run in the same folder."""
    monkeypatch.chdir(repository.parent)
    assert only(scan_of(Repository(f"./{repository.name}"))).model_folder == str(repository / "echo")


def test_labels_and_texts_load_nothing_anew(repository):
    """What a worker need not know is told on, with the same digest; what it loads changes the digest."""
    scan = scan_of(Repository(repository))
    before = only(scan)
    definition = repository / "echo" / "model.yaml"
    text = definition.read_text()
    definition.write_text(text + 'labels: {stable: "1"}\ndescription: echoes\nowner: me\nreplicas: 2\n')
    labelled = only(scan)
    assert labelled.labels == {"stable": "1"}
    assert labelled.replicas == 2
    assert labelled.digest == before.digest
    definition.write_text(text + "batching: {max_batch_rows: 7}\n")
    assert only(scan).digest != before.digest


@pytest.mark.parametrize("text", ["name: [", "name: echo\nframework: echo\nlables: {}\n", None])
def test_labels_stay_while_model_yaml_is_broken(repository, text):
    """A half-saved edit must not move traffic to another version."""
    definition = repository / "echo" / "model.yaml"
    whole = definition.read_text()
    definition.write_text(whole + "labels: {stable: '1'}\n")
    scan = scan_of(Repository(repository))
    assert only(scan).labels == {"stable": "1"}
    if text is None:
        definition.unlink()
    else:
        definition.write_text(text)
    assert {found.spec.name: dict(found.labels) for found in scan()} == {"echo": {"stable": "1"}}
    definition.write_text(whole)
    assert only(scan).labels == {}


def test_broken_and_incomplete_versions_have_a_problem(repository):
    """Broken ones will not mend by waiting, incomplete ones may."""
    scan = scan_of(Repository(repository))
    definition = repository / "echo" / "model.yaml"
    text = definition.read_text()
    definition.write_text(text + "nonsense: 1\n")
    broken = only(scan)
    assert (broken.broken, "nonsense" in broken.problem, str(broken.spec)) == (True, True, "echo/1")
    definition.write_text(text)
    (repository / "echo" / "1" / "MANIFEST.json").unlink()
    incomplete = only(scan)
    assert (incomplete.broken, "MANIFEST.json" in incomplete.problem) == (False, True)


def test_looks_are_delivered_once_and_faults_are_told(repository):
    """A look like the last one is not news; a fault is told when it comes and when it goes."""

    async def scenario():
        looks: list[list[Found]] = []
        faults: list[str] = []
        trouble = [False, False, True, True, False]
        scan = scan_of(Repository(repository))

        def troubled() -> list[Found]:
            if trouble and trouble.pop(0):
                raise Unavailable("gone")
            return scan()

        watch = Watch(troubled, 60.0, deliver=looks.append, fault=faults.append)
        watch.start()
        for _ in range(5):
            await asyncio.wait_for(watch.fresh(), 10)
        assert len(looks) == 1
        assert faults == ["gone", ""]
        shutil.rmtree(repository / "echo")
        await asyncio.wait_for(watch.fresh(), 10)
        assert looks[1:] == [[]]
        watch.stop()

    asyncio.run(scenario())


def test_an_unexpected_error_is_a_fault_too(repository, caplog):
    """A bug in a store does not end the watch; it is logged once with its traceback."""

    async def scenario():
        faults: list[str] = []

        def scan() -> list[Found]:
            raise ZeroDivisionError("oops")

        watch = Watch(scan, 60.0, deliver=lambda _: None, fault=faults.append)
        watch.start()
        await asyncio.wait_for(watch.fresh(), 10)
        assert faults == ["ZeroDivisionError: oops"]
        watch.stop()

    asyncio.run(scenario())
    assert "ZeroDivisionError" in caplog.text


def test_nobody_waits_for_a_look_after_stop(repository):
    """Stopping cancels who waits, even while a look hangs."""

    async def scenario():
        import threading

        release = threading.Event()

        def scan() -> list[Found]:
            release.wait(10)
            return []

        watch = Watch(scan, 60.0, deliver=lambda _: None, fault=lambda _: None)
        watch.start()
        waiting = asyncio.create_task(watch.fresh())
        await asyncio.sleep(0)
        watch.stop()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()

    asyncio.run(scenario())
