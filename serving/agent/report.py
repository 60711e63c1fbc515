"""What there is to say about every version: the state and reason that callers see. A pure reading of supervision."""

from collections.abc import Collection, Iterator, Mapping

from serving.agent.hosting import Hosted, Worker
from serving.agent.placement import Placement
from serving.agent.plan import Found, VersionStatus
from serving.spec import ModelSpec, State


class Report:
    """A view, valid until the next event."""

    def __init__(
        self,
        found: Mapping[ModelSpec, Found],
        placements: Mapping[tuple[ModelSpec, int], Placement],
        workers: Mapping[str, Worker],
        unloaded: Collection[str],
    ) -> None:
        self._found = found
        self._placements = placements
        self._workers = workers
        self._unloaded = unloaded

    def index(self) -> list[VersionStatus]:
        versions = [self.version(found) for found in self._found.values()]
        leaving = {hosted.found.spec: hosted.found for hosted in self._hosted() if hosted.found.spec not in self._found}
        versions.extend(VersionStatus(spec, found.framework, State.UNLOADING) for spec, found in leaving.items())
        return versions

    def of_model(self, name: str) -> list[VersionStatus]:
        return [self.version(found) for spec, found in self._found.items() if spec.name == name]

    def current_states(self, name: str) -> dict[ModelSpec, State]:
        return {spec: self.current(found) for spec, found in self._found.items() if spec.name == name}

    def current(self, found: Found) -> State:
        """State of the files as they are now, whatever an earlier content of the same version does."""
        states = {hosted.state for hosted in self._hosted(found.spec) if hosted.found.digest == found.digest}
        if State.READY in states:
            return State.READY
        if found.problem:
            return State.FAILED if found.broken else State.UNAVAILABLE
        verdicts = [placement.verdict for placement in self._notes(found.spec)]
        if not verdicts:
            return State.UNAVAILABLE
        return State.FAILED if all(verdicts) else State.LOADING

    def version(self, found: Found) -> VersionStatus:
        state, reason = self._state(found)
        hosted = list(self._hosted(found.spec))
        load_s = max((one.load_s for one in hosted), default=0.0)
        # A model.yaml that broke while its model serves names no framework any more; the worker still has one.
        framework = found.framework or next((one.found.framework for one in hosted), "")
        return VersionStatus(found.spec, framework, state, reason, found.labels, load_s)

    def _state(self, found: Found) -> tuple[State, str]:
        states = {hosted.state for hosted in self._hosted(found.spec)}
        trouble = self._trouble(found)
        if found.spec.name in self._unloaded:
            leaving = State.UNLOADING if states else State.UNAVAILABLE
            return leaving, "unloaded by an operator; load it to serve it again"
        if State.READY in states:
            current = self.current(found)
            if current is State.READY or not trouble:
                return State.READY, ""
            return State.READY, f"its files have changed and cannot be served, the earlier ones still are: {trouble}"
        state = self.current(found)
        return state, trouble if state is not State.READY else ""

    def _trouble(self, found: Found) -> str:
        if found.problem:
            return found.problem
        notes = self._notes(found.spec)
        if not notes and found.spec.version:
            return f"workers.{found.framework}.replicas is 0 here" if found.replicas is None else "replicas is 0"
        verdict = next((placement.verdict for placement in notes if placement.verdict), "")
        cause = next((placement.cause for placement in notes if placement.cause), "")
        return verdict or (f"its worker was lost ({cause}), starting another" if cause else "")

    def _notes(self, spec: ModelSpec) -> list[Placement]:
        return [placement for (placed, _), placement in self._placements.items() if placed == spec]

    def _hosted(self, spec: ModelSpec | None = None) -> Iterator[Hosted]:
        for worker in self._workers.values():
            for hosted in worker.hosted.values():
                if spec is None or hosted.found.spec == spec:
                    yield hosted
