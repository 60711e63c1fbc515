"""Loads the versions of a worker one after another, in a thread of low priority, and hands each over when it is ready.

A version that cannot be loaded is reported with its reason and does not disturb the rest.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from serving.cores import usable_cores
from serving.errors import DodonaError
from serving.policy.threads import threads_of_a_run
from serving.priority import lower_thread, may_raise, restore_session, restore_threads
from serving.spec import ModelSpec
from serving.worker.golden import GoldenFailure
from serving.worker.load import Loaded, load_version
from serving.worker.metrics import WorkerMetrics
from serving.worker.parent import StatusLine
from serving.worker.settings import WorkerModel, WorkerSettings

log = logging.getLogger(__name__)

_MAX_REASON_CHARS: Final = 4000


class Loader:
    def __init__(
        self,
        settings: WorkerSettings,
        status: StatusLine,
        metrics: WorkerMetrics,
        on_loaded: Callable[[Loaded], None],
    ) -> None:
        self._settings = settings
        self._status = status
        self._metrics = metrics
        self._on_loaded = on_loaded
        self._threads = settings.threads or threads_of_a_run(usable_cores())
        # Where a run takes several threads they are made while loading, and would serve low if none could raise them.
        self._nice = settings.nice if self._threads == 1 or may_raise() else 0
        self._unwanted: set[ModelSpec] = set()
        self.busy = False
        """Whether a framework is loading right now, in a thread that cannot be interrupted."""

    async def run(self, models: Sequence[WorkerModel]) -> None:
        for model in models:
            spec = ModelSpec(model.name, model.version)
            if spec in self._unwanted:
                self._status.tell_of("unloaded", spec)
                continue
            self._status.tell_of("loading", spec)
            try:
                loaded = await self._in_thread(model)
            except DodonaError as error:
                self._failed(spec, error)
            else:
                self._hand_over(loaded)

    def forget(self, spec: ModelSpec) -> None:
        """Not wanted any more: not loaded if its turn has not come, closed at once if it is just being loaded."""
        self._unwanted.add(spec)

    def _hand_over(self, loaded: Loaded) -> None:
        if loaded.bundle.spec in self._unwanted:
            loaded.predictor.close()
            self._status.tell_of("unloaded", loaded.bundle.spec)
        else:
            self._on_loaded(loaded)

    def _failed(self, spec: ModelSpec, error: DodonaError) -> None:
        log.error("load failed", extra={"model": str(spec), "error": str(error)}, exc_info=error.__cause__)
        if isinstance(error, GoldenFailure):
            self._metrics.of(spec).golden_failures.inc()
        self._status.tell_of("failed", spec, reason=_short(str(error)))

    async def _in_thread(self, model: WorkerModel) -> Loaded:
        # A daemon thread, one per load: a framework that hangs must not keep the process from going, and a thread's
        # niceness cannot be taken back.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Loaded] = loop.create_future()

        def settle(loaded: Loaded | None, error: BaseException | None) -> None:
            self.busy = False
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            elif loaded is not None:
                done.set_result(loaded)

        def load() -> None:
            if self._nice:
                lower_thread(self._nice)
            loaded, failure = None, None
            try:
                loaded = load_version(model, framework=self._settings.framework, threads=self._threads)
                restore_threads()
                restore_session()
            except BaseException as error:
                failure = error
            loop.call_soon_threadsafe(settle, loaded, failure)

        self.busy = True
        threading.Thread(target=load, name=f"load-{model.name}", daemon=True).start()
        return await done


def _short(reason: str) -> str:
    """It is told to the parent and to every router; a model may complain at any length."""
    return reason if len(reason) <= _MAX_REASON_CHARS else f"{reason[:_MAX_REASON_CHARS]} ..."
