"""Which workers should run: the whole policy of an agent, without a clock, a process or a file.

Model. The repository shows versions (`Found`), each wanted once per replica of its framework: a *placement*. A worker
process hosts some placements. Events come in as method calls (`snapshot`, `status`, `exited`, `load`, `unload`,
`drain`, `tick`), each with the time; each gives back the actions to take. After every event the same `_reconcile`
compares what is wanted with what is hosted, so a lost or repeated event costs nothing.

Invariants.
- A worker is given its versions when it starts and never one more: loading happens in fresh processes only.
- What is ready is taken away only when its folder has gone, an operator asks, fewer replicas are wanted, or its
  replacement is ready; so changed files that turn out broken leave the earlier ones serving.
- A placement has at most one process that loads it or holds its current content.
- A worker that hosts nothing any more is drained.
- A worker in which a run hangs serves its other versions until others serve them, and a silent one is killed: not at
  once, because it may be we who slept, but if it is still silent a moment later.

It does not decide which version a caller gets (the router does), nor does it look at the versions' contents.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

from serving.agent.hosting import Hosted, Worker
from serving.agent.placement import Placement, cause_of
from serving.agent.plan import Action, Bounds, DrainWorker, Found, KillWorker, StartWorker, UnloadVersion, VersionStatus
from serving.agent.report import Report
from serving.agent.wishes import Wishes
from serving.spec import ModelSpec, State

_SECOND_LOOK_S = 1.0
Key = tuple[ModelSpec, int]


class Supervision:
    """`replicas(framework)` says how many copies of a framework's workers are wanted."""

    def __init__(self, bounds: Bounds, replicas: Callable[[str], int] = lambda _: 1) -> None:
        self._bounds = bounds
        self._replicas = replicas
        self._found: dict[ModelSpec, Found] = {}
        self._placements: dict[Key, Placement] = {}
        self._workers: dict[str, Worker] = {}
        self._wishes = Wishes()
        self._started: dict[str, int] = {}
        self._draining = False

    # Events

    def snapshot(self, versions: Iterable[Found], now: float) -> list[Action]:
        """The repository as it is now, whole."""
        self._found = {found.spec: found for found in versions}
        self._wishes.forget_all_but({spec.name for spec in self._found})
        wanted = {
            (found.spec, replica): found.digest for found in self._found.values() for replica in self._range(found)
        }
        for key, digest in wanted.items():
            if key not in self._placements or self._placements[key].digest != digest:
                self._placements[key] = Placement(digest)
        for key in self._placements.keys() - wanted.keys():
            del self._placements[key]
        return self._reconcile(now)

    def status(
        self, worker: str, event: str, spec: ModelSpec | None, now: float, *, reason: str = "", load_s: float = 0.0
    ) -> list[Action]:
        """A status line of a worker: started, loading, ready, failed, unloaded or drained; others change nothing."""
        process = self._workers.get(worker)
        if process is None:
            return []
        process.progress_at = now
        if process.alive_at is not None:
            self.alive(worker, now)
        hosted = process.hosted.get(spec) if spec is not None else None
        if hosted is None or spec is None:
            return []
        placement = self._placement(process, hosted)
        if event == "ready" and hosted.state is State.LOADING:
            hosted.state, hosted.ready_at, hosted.load_s = State.READY, now, load_s
            if placement:
                placement.became_ready()
        elif event == "failed":
            del process.hosted[spec]
            if placement:
                placement.failed(reason)
        elif event == "unloaded":
            del process.hosted[spec]
        elif event == "stuck":
            hosted.state, process.stuck = State.UNLOADING, True
            if placement:
                placement.hung(reason, now - hosted.ready_at, now, self._bounds)
        return self._reconcile(now)

    def alive(self, worker: str, now: float) -> None:
        """A sign of life: there is nothing to do."""
        process = self._workers.get(worker)
        if process is not None:
            process.alive_at, process.suspect_since = now, None

    def exited(self, worker: str, code: int, now: float) -> list[Action]:
        """A worker process has gone; `code` as of subprocess (negative: killed by that signal)."""
        process = self._workers.pop(worker, None)
        if process is None:
            return []
        cause = process.doomed or cause_of(code)
        for hosted in process.hosted.values():
            placement = self._placement(process, hosted)
            if placement is None or process.draining:
                continue
            if hosted.state is State.LOADING:
                placement.died_loading(cause, now, self._bounds)
            elif hosted.state is State.READY:
                placement.died_serving(cause, now - hosted.ready_at, now, self._bounds)
        return self._reconcile(now)

    def load(self, control: int, name: str, now: float) -> list[Action]:
        """An operator wants model `name` served: unloaded versions come back, failed ones are tried again."""
        self._wishes.load(control, name)
        for key, placement in self._placements.items():
            if key[0].name == name and placement.verdict:
                self._placements[key] = Placement(placement.digest)
        return self._reconcile(now)

    def unload(self, control: int, name: str, now: float) -> list[Action]:
        """An operator wants model `name` gone until it is loaded again."""
        self._wishes.unload(control, name)
        return self._reconcile(now)

    def drain(self, now: float) -> list[Action]:
        """The agent goes: nothing is started any more, every worker finishes."""
        self._draining = True
        return self._reconcile(now)

    def tick(self, now: float) -> list[Action]:
        return self._reconcile(now)

    # Questions

    @property
    def workers(self) -> Mapping[str, Worker]:
        return self._workers

    def index(self) -> list[VersionStatus]:
        """Every version of the repository, and those still being taken away, oldest first."""
        return self._report().index()

    def wake_at(self, now: float) -> float | None:
        """When to `tick` next if nothing else happens; None = no need."""
        return min((moment for moment in self._moments() if moment > now), default=None)

    @property
    def wanted_workers(self) -> int:
        """Processes that serve all this once nothing loads; at least 1."""
        return max(1, len({(found.framework, replica) for found, replica in self._wanted()}))

    # The decision

    def _reconcile(self, now: float) -> list[Action]:
        actions = [*self._stop(now), *self._start(now), *self._overdue(now)]
        actions.extend(self._wishes.answers(self._report()))
        return actions

    def _stop(self, now: float) -> Iterator[Action]:
        for worker in self._workers.values():
            if worker.draining:
                continue
            going = [hosted for hosted in worker.hosted.values() if self._should_go(worker, hosted)]
            staying = len(worker.hosted) - len(going)
            for hosted in going:
                if staying and hosted.state is not State.UNLOADING:
                    yield UnloadVersion(worker.name, hosted.found.spec)
                hosted.state = State.UNLOADING
            if not staying:
                worker.draining_since = now
                yield DrainWorker(worker.name)

    def _should_go(self, worker: Worker, hosted: Hosted) -> bool:
        spec = hosted.found.spec
        found = self._found.get(spec)
        if found is None or self._draining or hosted.state is State.UNLOADING or self._wishes.unloaded(spec.name):
            return True
        if not found.problem and worker.replica not in self._range(found):
            return True
        if not worker.stuck and (hosted.found.digest == found.digest or found.problem):
            return False
        successor = self._hosting(found, worker.replica)
        return hosted.state is State.LOADING or (successor is not None and successor.state is State.READY)

    def _start(self, now: float) -> Iterator[Action]:
        if self._draining:
            return
        room = self._bounds.max_loading - sum(worker.loading for worker in self._workers.values())
        missing = [(found, replica) for found, replica in self._wanted() if self._may_start(found, replica, now)]
        for (framework, replica, _), group in groupby(sorted(missing, key=self._process), key=self._process):
            if room <= 0:
                return
            room -= 1
            yield self._start_worker(framework, replica, tuple(found for found, _ in group), now)

    def _process(self, missing: tuple[Found, int]) -> tuple[str, int, tuple[str, ...]]:
        """What shares a process: one framework and replica; a suspect has one of its own, after the others."""
        found, replica = missing
        alone = self._placements[found.spec, replica].alone
        return found.framework, replica, (found.spec.name, found.spec.version) if alone else ()

    def _start_worker(self, framework: str, replica: int, versions: tuple[Found, ...], now: float) -> StartWorker:
        number = self._started[framework] = self._started.get(framework, 0) + 1
        worker = Worker(f"{framework}-{number}", framework, replica, versions, now)
        self._workers[worker.name] = worker
        return StartWorker(worker.name, framework, versions)

    def _overdue(self, now: float) -> Iterator[Action]:
        for worker in self._workers.values():
            due = self._due(worker)
            if worker.doomed or due is None or now < due:
                continue
            if not worker.draining and not worker.loading and worker.suspect_since is None:
                worker.suspect_since = now
                continue
            worker.doomed = self._complaint(worker)
            yield KillWorker(worker.name, worker.doomed)

    def _complaint(self, worker: Worker) -> str:
        if worker.draining:
            return f"was still draining after {self._bounds.drain_grace_s:g} s"
        if worker.loading:
            return f"made no progress for {self._bounds.load_timeout_s:g} s (supervise.load_timeout_s)"
        return f"gave no sign of life for {self._bounds.silence_timeout_s:g} s (supervise.silence_timeout_s)"

    # Small questions

    def _range(self, found: Found) -> range:
        if not found.spec.version:
            return range(0)
        return range(self._replicas(found.framework) if found.replicas is None else found.replicas)

    def _wanted(self) -> Iterator[tuple[Found, int]]:
        for found in self._found.values():
            if not found.problem and not self._wishes.unloaded(found.spec.name):
                for replica in self._range(found):
                    yield found, replica

    def _may_start(self, found: Found, replica: int, now: float) -> bool:
        placement = self._placements[found.spec, replica]
        return not placement.verdict and placement.not_before <= now and self._hosting(found, replica) is None

    def _hosting(self, found: Found, replica: int) -> Hosted | None:
        for worker in self._workers.values():
            hosted = worker.serves(found.spec, replica, found.digest)
            if hosted is not None:
                return hosted
        return None

    def _placement(self, worker: Worker, hosted: Hosted) -> Placement | None:
        """The notes about what this worker hosts; None if the content it has is no longer the wanted one."""
        placement = self._placements.get((hosted.found.spec, worker.replica))
        return placement if placement and placement.digest == hosted.found.digest else None

    def _due(self, worker: Worker) -> float | None:
        if worker.draining_since is not None:
            return worker.draining_since + self._bounds.drain_grace_s
        if worker.loading:
            return worker.progress_at + self._bounds.load_timeout_s
        if worker.suspect_since is not None:
            return worker.suspect_since + _SECOND_LOOK_S
        return None if worker.alive_at is None else worker.alive_at + self._bounds.silence_timeout_s

    def _moments(self) -> Iterator[float]:
        for placement in self._placements.values():
            yield placement.not_before
        for worker in self._workers.values():
            due = self._due(worker)
            if due is not None and not worker.doomed:
                yield due

    def _report(self) -> Report:
        return Report(self._found, self._placements, self._workers, self._wishes.unloaded_names)
