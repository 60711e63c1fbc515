"""Looking at scans in tests."""

from serving.bundle.snapshot import Entry, Snapshot, VersionState

COMPLETE, INCOMPLETE, BROKEN = VersionState.COMPLETE, VersionState.INCOMPLETE, VersionState.BROKEN
# Long after any file of a test was written: everything has settled.
LATER_S = 4e9


class Clock:
    def __init__(self, now_s: float = LATER_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def states(snapshot: Snapshot) -> dict[str, VersionState]:
    return {str(entry.spec): entry.state for entry in snapshot.entries()}


def entry(snapshot: Snapshot, spec: str) -> Entry:
    return next(entry for entry in snapshot.entries() if str(entry.spec) == spec)
