"""What supervision takes in (versions found, status lines) and gives out (actions, version states). Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.spec import ModelSpec, State
from serving.status import Status


@dataclass(frozen=True, slots=True)
class Found:
    """A version as the repository shows it now. `version` is empty where the model folder itself is at fault."""

    spec: ModelSpec
    framework: str
    digest: str
    """Changes whenever a file of the version, or its model.yaml, changes."""
    model_folder: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot be loaded as it is; empty = it can."""
    replicas: int | None = None
    """Workers that are to serve it, as model.yaml has it; None = as many as its framework has."""
    broken: bool = False
    """The problem will not go away by waiting (FAILED); otherwise the version is incomplete (UNAVAILABLE)."""


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process `name` for `framework` that loads `versions` in this order."""

    name: str
    framework: str
    versions: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class UnloadVersion:
    worker: str
    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Answer what was accepted, then exit."""

    worker: str


@dataclass(frozen=True, slots=True)
class KillWorker:
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an operator's wish."""

    control: int
    status: Status
    message: str = ""


Action = StartWorker | UnloadVersion | DrainWorker | KillWorker | Answer


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What callers are told about a version."""

    spec: ModelSpec
    framework: str
    state: State
    reason: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    load_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers of `serving.agent.settings.Supervise` that supervision needs; seconds where the name ends in _s."""

    restart_delay_s: float = 0.5
    restart_delay_max_s: float = 30.0
    healthy_after_s: float = 60.0
    load_attempts: int = 3
    load_timeout_s: float = 600.0
    silence_timeout_s: float = 30.0
    max_loading: int = 4
    drain_grace_s: float = 30.0
