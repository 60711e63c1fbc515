"""The agent: does what supervision decides. It watches a repository, runs workers, and tells the routers.

Everything happens in one event loop; the only other thread is the repository watch. `run` owns all tasks.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any, Final

from protos import link_pb2
from serving.agent.child import StatusLine
from serving.agent.fleet import WORKER_COMMAND, Fleet
from serving.agent.plan import (
    Action,
    Answer,
    Bounds,
    DrainWorker,
    Found,
    KillWorker,
    StartWorker,
    UnloadVersion,
    VersionStatus,
)
from serving.agent.router_link import RouterLink, index_frame
from serving.agent.settings import AgentSettings, Supervise, WorkerPool
from serving.agent.supervision import Supervision
from serving.agent.watch import Scan, Watch, scan_of
from serving.bundle.repository import Repository
from serving.spec import ModelSpec, State
from serving.status import Status

_KILL_AFTER_GRACE_S: Final = 2.0
_log = logging.getLogger(__name__)


class Agent:
    """`run` works until `stop`, then drains the workers and returns; `kill` ends them at once. `on_change` is called
    after every change of the index."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        scan: Scan | None = None,
        command: Sequence[str] = WORKER_COMMAND,
        stderr: int | None = None,
        random: Random | None = None,
        on_change: Callable[["Agent"], None] = lambda _: None,
    ) -> None:
        """`stderr`: descriptor for the workers' logs, None = ours. Raises ConfigurationError: the kind of repository
        URL is unknown."""
        self._settings = settings
        self._scan = scan or scan_of(Repository(settings.repository))
        self._random = random or Random()
        self._on_change = on_change
        self._supervision = Supervision(
            _bounds(settings.supervise), lambda framework: settings.workers.get(framework, WorkerPool()).replicas
        )
        # Of this very start: a router holds names unique, and lets a newer connection replace one of the same name.
        self._mark = f"{self._random.getrandbits(24):06x}"
        self._fleet = Fleet(
            settings,
            command,
            mark=self._mark,
            on_line=self._status,
            on_exit=self._exited,
            stderr=stderr,
            wanted=lambda: self._supervision.wanted_workers,
        )
        self._fulfilling: set[asyncio.Task[None]] = set()
        self._links: list[RouterLink] = []
        self._wishes: dict[int, tuple[RouterLink, int]] = {}
        self._wish_ids = count(1)
        self._index: list[VersionStatus] = []
        self._seen = False
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._wake: asyncio.TimerHandle | None = None
        self.repository_fault = ""
        """Why the repository cannot be read now; empty = it can."""

    # For whoever runs the agent

    @property
    def index(self) -> Sequence[VersionStatus]:
        """Every version with its state; empty before the first look at the repository."""
        return self._index

    @property
    def pids(self) -> dict[str, int]:
        """Worker name -> process id."""
        return self._fleet.pids

    def stop(self) -> None:
        """Drain: workers answer what they have, then go."""
        self._stop.set()

    def kill(self) -> None:
        """End every worker now. `run` still returns by itself, after `stop`."""
        self._fleet.kill_all()

    async def changed(self) -> None:
        """Returns at the next change of the index or of `repository_fault`."""
        self._changed.clear()
        await self._changed.wait()

    @property
    def settled(self) -> bool:
        """Whether the repository was looked at and nothing is loading."""
        looked = self._seen or bool(self.repository_fault)
        return looked and all(version.state is not State.LOADING for version in self._index)

    async def run(self) -> None:
        watch = Watch(self._scan, self._settings.poll_interval_s, deliver=self._delivered, fault=self._faulted)
        self._links = [
            RouterLink(
                address,
                self._settings,
                self._random,
                name=f"{self._settings.name}-{self._mark}",
                index=self._frame,
                wish=self._wish_via(watch),
            )
            for address in self._settings.routers
        ]
        links = [asyncio.create_task(link.run()) for link in self._links]
        stopped = asyncio.create_task(self._stop.wait())
        watch.start()
        try:
            ended, _ = await asyncio.wait([stopped, *links], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # a link that ends is a fault of ours: better dead than disconnected in silence
            watch.stop()
            self._step(self._supervision.drain(self._now()))
            await self._fleet.empty()
        finally:
            watch.stop()
            await self._fleet.close()
            if self._wake is not None:
                self._wake.cancel()
            await _finished([stopped, *links, *self._fulfilling])

    # Events

    def _delivered(self, found: list[Found]) -> None:
        first = not self._seen
        self._seen = True
        self._step(self._supervision.snapshot(found, self._now()))
        if first and not self._index:  # an empty repository is news too
            self._tell()

    def _faulted(self, fault: str) -> None:
        self.repository_fault = fault
        if fault:
            _log.error("repository cannot be read", extra={"repository": self._settings.repository, "reason": fault})
        else:
            _log.info("repository can be read again", extra={"repository": self._settings.repository})
        self._tell()

    def _status(self, worker: str, line: StatusLine) -> None:
        event = str(line.get("event", ""))
        if event == "alive":  # twice a second from every worker: no more than a note
            self._supervision.alive(worker, self._now())
            return
        spec = ModelSpec(str(line["name"]), str(line["version"])) if "name" in line and "version" in line else None
        reason = str(line.get("reason") or "")
        load_s = line.get("load_s")
        seconds = float(load_s) if isinstance(load_s, int | float) else 0.0
        self._step(self._supervision.status(worker, event, spec, self._now(), reason=reason, load_s=seconds))

    def _exited(self, worker: str, code: int) -> None:
        self._step(self._supervision.exited(worker, code, self._now()))

    def _tick(self) -> None:
        self._wake = None
        self._step(self._supervision.tick(self._now()))

    def _wish_via(self, watch: Watch) -> Callable[[RouterLink, link_pb2.Control], None]:
        def wish(link: RouterLink, control: link_pb2.Control) -> None:
            task = asyncio.create_task(self._fulfil(watch, link, control))
            self._fulfilling.add(task)
            task.add_done_callback(self._fulfilled)

        return wish

    def _fulfilled(self, task: "asyncio.Task[None]") -> None:
        self._fulfilling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a wish could not be carried out", exc_info=task.exception())

    async def _fulfil(self, watch: Watch, link: RouterLink, control: link_pb2.Control) -> None:
        if control.config:
            text = "a configuration cannot be passed with a load; change the model's model.yaml or config.pbtxt"
            link.answer(control.id, Status.UNIMPLEMENTED, text)
            return
        # Whoever asks may have just put the files there.
        await watch.fresh()
        number = next(self._wish_ids)
        self._wishes[number] = (link, control.id)
        if control.action == link_pb2.ACTION_LOAD:
            self._step(self._supervision.load(number, control.name, self._now()))
        elif control.action == link_pb2.ACTION_UNLOAD:
            self._step(self._supervision.unload(number, control.name, self._now()))
        else:
            self._answer(Answer(number, Status.UNIMPLEMENTED, f"unknown action {control.action}"))

    # Actions

    def _step(self, actions: Sequence[Action]) -> None:
        """Carry out what supervision decided, then tell everyone what changed."""
        answers = []
        for action in actions:
            if isinstance(action, Answer):
                answers.append(action)
            else:
                self._act(action)
        index = self._supervision.index()
        if index != self._index:
            self._index = index
            self._tell()
        # After the index: who asked for a load finds it in the router's index once it is answered.
        for answer in answers:
            self._answer(answer)
        self._set_alarm()

    def _act(self, action: StartWorker | UnloadVersion | DrainWorker | KillWorker) -> None:
        if isinstance(action, StartWorker):
            # While nothing is served yet there is nobody to spare.
            serves = any(version.state is State.READY for version in self._index)
            self._fleet.start(action, nice=self._settings.supervise.nice if serves else 0)
        elif isinstance(action, UnloadVersion):
            self._fleet.unload(action.worker, action.spec)
        elif isinstance(action, DrainWorker):
            self._fleet.drain(action.worker)
        else:
            _log.error("worker is killed", extra={"worker": action.worker, "reason": action.reason})
            self._fleet.kill(action.worker)

    def _answer(self, answer: Answer) -> None:
        link, control = self._wishes.pop(answer.control)
        link.answer(control, answer.status, answer.message)

    # Plumbing

    def _frame(self) -> link_pb2.Index | None:
        if not self._seen:
            return None  # an empty index would say that nothing is wanted
        return index_frame(self._settings.repository, self._index, self.repository_fault)

    def _tell(self) -> None:
        for link in self._links:
            link.send_index()
        self._changed.set()
        self._on_change(self)

    def _set_alarm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        moment = self._supervision.wake_at(self._now())
        self._wake = None if moment is None else asyncio.get_running_loop().call_at(moment, self._tick)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _bounds(settings: Supervise) -> Bounds:
    bounds = Bounds(**settings.model_dump(exclude={"poll_interval_s", "remote_poll_interval_s", "nice"}))
    # The worker keeps to the grace by itself; it is killed only if it does not.
    return replace(bounds, drain_grace_s=bounds.drain_grace_s + _KILL_AFTER_GRACE_S)


async def _finished(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
