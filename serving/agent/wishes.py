"""Operators' wishes: which models they took out of service, and whom to tell when a wish has come true or failed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from serving.agent.plan import Answer, VersionStatus
from serving.agent.report import Report
from serving.spec import State
from serving.status import Status


@dataclass(frozen=True, slots=True)
class _Wish:
    control: int
    name: str
    load: bool


class Wishes:
    """A later wish about the same model overrules an earlier one, which is answered ABORTED."""

    def __init__(self) -> None:
        self._unloaded: set[str] = set()
        self._open: list[_Wish] = []

    @property
    def unloaded_names(self) -> Collection[str]:
        return self._unloaded

    def unloaded(self, name: str) -> bool:
        return name in self._unloaded

    def load(self, control: int, name: str) -> None:
        self._unloaded.discard(name)
        self._open.append(_Wish(control, name, True))

    def unload(self, control: int, name: str) -> None:
        self._unloaded.add(name)
        self._open.append(_Wish(control, name, False))

    def forget_all_but(self, names: set[str]) -> None:
        """A model that left the repository starts afresh when it comes back."""
        self._unloaded &= names

    def answers(self, report: Report) -> Iterator[Answer]:
        """The wishes whose outcome is known now, each answered once."""
        still_open = []
        newest = {wish.name: wish for wish in self._open}
        for wish in self._open:
            answer = _outcome(wish, newest[wish.name], report)
            if answer is None:
                still_open.append(wish)
            else:
                yield answer
        self._open = still_open


def _outcome(wish: _Wish, newest: _Wish, report: Report) -> Answer | None:
    if newest.load is not wish.load:
        return Answer(wish.control, Status.ABORTED, f"model {wish.name!r}: a later request asked for the opposite")
    versions = report.of_model(wish.name)
    if not versions:
        return Answer(wish.control, Status.NOT_FOUND, f"model {wish.name!r} is not in the repository")
    return _loaded(wish, report) if wish.load else _unloaded(wish, versions)


def _unloaded(wish: _Wish, versions: list[VersionStatus]) -> Answer | None:
    leaving = any(version.state is State.UNLOADING for version in versions)
    return None if leaving else Answer(wish.control, Status.OK)


def _loaded(wish: _Wish, report: Report) -> Answer | None:
    """Known once every version, with the files it has now, is ready or has a reason why not."""
    states = report.current_states(wish.name)
    if State.LOADING in states.values():
        return None
    if State.FAILED not in states.values() and State.READY in states.values():
        return Answer(wish.control, Status.OK)
    status = Status.FAILED_PRECONDITION if State.FAILED in states.values() else Status.UNAVAILABLE
    faults = [
        f"version {version.spec.version}: {version.reason}" if version.spec.version else version.reason
        for version in report.of_model(wish.name)
        if states[version.spec] is not State.READY
    ]
    return Answer(wish.control, status, "; ".join(faults))
