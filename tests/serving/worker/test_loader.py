import asyncio
import os
import threading
from pathlib import Path

from serving.bundle.pack import pack
from serving.priority import lower_thread
from serving.spec import ModelSpec
from serving.worker.load import Loaded
from serving.worker.loader import Loader
from serving.worker.metrics import WorkerMetrics
from serving.worker.parent import StatusLine
from serving.worker.settings import WorkerModel, WorkerSettings
from tests.serving.worker.bundles import X, echo

SETTINGS = WorkerSettings(name="w", framework="echo", routers=())


class Told(StatusLine):
    """Remembers what the parent is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[tuple[str, str, str]] = []

    def tell(self, event: str, **fields: object) -> None:
        self.events.append((event, str(fields.get("name", "")), str(fields.get("reason", ""))))


def load(
    *models: WorkerModel, unwanted: tuple[str, ...] = (), framework: str = "echo"
) -> tuple[list[Loaded], list[tuple[str, str, str]]]:
    told, loaded = Told(), list[Loaded]()
    loader = Loader(SETTINGS.model_copy(update={"framework": framework}), told, WorkerMetrics(), loaded.append)
    for name in unwanted:
        loader.forget(ModelSpec(name, "1"))
    asyncio.run(loader.run(models))
    assert not loader.busy
    return loaded, told.events


def test_one_after_another(tmp_path: Path) -> None:
    """Each version is handed over when it is ready, in the order of the settings."""
    loaded, events = load(echo(tmp_path, "a"), echo(tmp_path, "b"))
    assert [one.bundle.spec.name for one in loaded] == ["a", "b"]
    assert events == [("loading", "a", ""), ("loading", "b", "")]


def test_one_that_fails_does_not_disturb_the_rest(tmp_path: Path) -> None:
    """Its reason is told, the next one is loaded."""
    missing = WorkerModel(name="none", version="1", model_folder=str(tmp_path / "none"))
    loaded, events = load(missing, echo(tmp_path, "b"))
    assert [one.bundle.spec.name for one in loaded] == ["b"]
    assert [(event, name) for event, name, _ in events] == [("loading", "none"), ("failed", "none"), ("loading", "b")]
    assert events[1][2]


def test_a_long_complaint_is_cut(tmp_path: Path) -> None:
    """A reason travels to the parent and to every router; a model may raise a text of any length."""
    source = tmp_path / "model.py"
    source.write_text(
        "class Model:\n"
        "  def load(self, folder):\n"
        "    if (folder.parent / 'grumpy').exists(): raise ValueError('no' * 10**6)\n"
        "  def predict(self, inputs): return inputs\n"
    )
    pack(source, name="m", repository=tmp_path, framework="python", class_="model:Model", inputs=[X], outputs=[X])
    (tmp_path / "m" / "grumpy").touch()
    model = WorkerModel(name="m", version="1", model_folder=str(tmp_path / "m"))
    _, events = load(model, framework="python")
    assert "ValueError: nono" in events[1][2]
    assert len(events[1][2]) < 5000


def test_what_is_no_longer_wanted_is_not_loaded(tmp_path: Path) -> None:
    """An unload that comes before a version's turn saves its loading."""
    loaded, events = load(echo(tmp_path, "a"), echo(tmp_path, "b"), unwanted=("a",))
    assert [one.bundle.spec.name for one in loaded] == ["b"]
    assert events == [("unloaded", "a", ""), ("loading", "b", "")]


def test_only_the_loading_thread_is_nice() -> None:
    """Niceness is a thread's own: serving keeps its priority."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen: list[int] = []

    def run() -> None:
        lower_thread(before + 1)
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert seen == [before + 1]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
