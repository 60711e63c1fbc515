"""A worker process as supervision sees it: which versions it hosts, and how far each has come."""

from serving.agent.plan import Found
from serving.spec import ModelSpec, State


class Hosted:
    """One version in one worker: LOADING, READY or UNLOADING; it is forgotten when it failed or went."""

    __slots__ = ("found", "load_s", "ready_at", "state")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.state = State.LOADING
        self.ready_at = 0.0
        self.load_s = 0.0


class Worker:
    """`replica` numbers the copies of a framework's workers. `progress_at` is when it last reported something."""

    __slots__ = (
        "alive_at",
        "doomed",
        "draining_since",
        "framework",
        "hosted",
        "name",
        "progress_at",
        "replica",
        "stuck",
        "suspect_since",
    )

    def __init__(self, name: str, framework: str, replica: int, versions: tuple[Found, ...], now: float) -> None:
        self.name = name
        self.framework = framework
        self.replica = replica
        self.hosted = {found.spec: Hosted(found) for found in versions}
        self.progress_at = now
        self.draining_since: float | None = None
        self.alive_at: float | None = None
        """Its last sign of life; None = it gives none."""
        self.suspect_since: float | None = None
        """When its silence was first found too long."""
        self.stuck = False
        """Whether a run in it hangs: what it still serves is to be served by others."""
        self.doomed = ""
        """Why it was killed; empty = it was not."""

    @property
    def draining(self) -> bool:
        return self.draining_since is not None

    @property
    def loading(self) -> bool:
        return any(hosted.state is State.LOADING for hosted in self.hosted.values())

    def serves(self, spec: ModelSpec, replica: int, digest: str) -> Hosted | None:
        """The version as hosted here, loading or ready, if it is this very replica and content."""
        hosted = self.hosted.get(spec)
        if self.stuck or hosted is None or self.replica != replica or hosted.state is State.UNLOADING:
            return None
        return hosted if hosted.found.digest == digest else None
