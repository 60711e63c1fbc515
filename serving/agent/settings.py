"""Settings of an agent: the process part that watches one repository and runs one machine's workers."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from serving.link.address import LinkAddress
from serving.settings import Settings
from serving.spinning import SpinSeconds
from serving.tracing.settings import Tracing

Positive = Annotated[float, Field(gt=0)]


class WorkerPool(Settings):
    """How the workers of one framework are run."""

    replicas: Annotated[int, Field(ge=0, le=1024)] = 1
    """Processes that each serve every version of the framework, unless a model.yaml says `replicas`; 0 = do not serve
    this framework here."""
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """Threads a framework may use for one prediction; 0 = so many that all workers together fit the processors this
    process may use (affinity, container limit), a quarter of them at most, at least 1."""
    spin_s: SpinSeconds = 0.0003
    """Seconds that a worker's event loop looks for work before it sleeps, as `router.spin_s`."""


class Supervise(Settings):
    """Bounds on starting, restarting and stopping workers."""

    poll_interval_s: Positive = 0.5
    """Seconds between two looks at a repository in a folder."""
    remote_poll_interval_s: Positive = 10.0
    """Seconds between two looks at a repository that is a URL (s3://, gs://, http://): each look lists all of it."""
    restart_delay_s: Positive = 0.5
    """Seconds until a worker that died is started again; doubles with every death in a row."""
    restart_delay_max_s: Positive = 30.0
    """Seconds between restarts at most."""
    healthy_after_s: Positive = 60.0
    """Seconds a version must have been ready for its next death to count as the first."""
    load_attempts: Annotated[int, Field(ge=1)] = 3
    """Workers in a row that may die while loading a version before it is marked FAILED."""
    load_timeout_s: Positive = 600.0
    """Seconds without progress after which a loading worker is killed."""
    silence_timeout_s: Annotated[float, Field(ge=2)] = 30.0
    """Seconds without a sign of life after which a worker that serves is killed and replaced."""
    max_loading: Annotated[int, Field(ge=1)] = 4
    """Workers that load at the same time; the rest wait their turn."""
    drain_grace_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds a draining worker gets to finish accepted requests before it is killed."""
    nice: Annotated[int, Field(ge=0, le=19)] = 15
    """Unix niceness while loading beside what serves: 15 = a thirtieth of the weight, 5 = a third; 19 = next to
    nothing, which may take minutes on a machine that is busy with other things."""


class AgentSettings(Settings):
    name: str = "agent"
    """Name in logs and status; a mark of each start is added, so that agents may share a name."""
    repository: str = "./models"
    """Folder or fsspec URL (s3://, gs://, http://) with one folder per model."""
    routers: tuple[LinkAddress, ...] = ()
    """Link addresses of the routers, `unix:PATH` or `HOST:PORT`."""
    token: SecretStr = SecretStr("")
    """Shared secret presented on the link."""
    run_folder: str = ".dodona"
    """Folder for the workers' settings files."""
    workers: dict[str, WorkerPool] = Field(default_factory=dict)
    """Framework -> how its workers run; a framework that is not named gets the defaults."""
    supervise: Supervise = Supervise()
    max_frame_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024 * 1024
    """Bytes of one frame on the link."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written by the workers."""
    tracing: Tracing = Tracing()

    @property
    def poll_interval_s(self) -> float:
        """Seconds between two looks at this repository."""
        scheme = self.repository.partition("://")[0] if "://" in self.repository else "file"
        return self.supervise.poll_interval_s if scheme == "file" else self.supervise.remote_poll_interval_s
