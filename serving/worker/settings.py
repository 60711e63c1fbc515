"""Settings of a worker process: one JSON object in a file, written by whoever starts it."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from serving.link.address import LinkAddress
from serving.settings import Settings
from serving.spinning import SpinSeconds
from serving.tracing.settings import Tracing


class WorkerModel(Settings):
    """One version to load."""

    name: str
    version: str
    model_folder: str
    """The model's folder or URL, where model.yaml stands."""


class WorkerSettings(Settings):
    name: Annotated[str, StringConstraints(min_length=1)]
    """Unique among the workers of a router."""
    framework: str
    """Of all its models, see docs/reference/runtimes.md."""
    routers: tuple[LinkAddress, ...]
    """Routers to dial: `unix:PATH` or `HOST:PORT`."""
    token: SecretStr = SecretStr("")
    """Shared secret that the routers ask for."""
    models: tuple[WorkerModel, ...] = ()
    """Loaded one after another, in this order."""
    metrics_host: str = "127.0.0.1"
    """Address of `GET /metrics`; 0.0.0.0 = all interfaces."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 = any free port."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written."""
    inline_below_s: Annotated[float, Field(ge=0)] = 0.002
    """Runs expected to be shorter (seconds) happen in the event loop, longer ones in a thread of the version."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of one run where model.yaml does not say; 0 = a quarter of the processors to use, at least 1."""
    spin_s: SpinSeconds = 0.0
    """Seconds that the event loop looks for work before it sleeps, while work keeps coming in shorter pauses."""
    nice: Annotated[int, Field(ge=0, le=19)] = 5
    """Unix niceness of the thread that loads (threads a framework makes while loading inherit it)."""
    drain_grace_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that accepted requests get to finish when the worker is told to go."""
    max_frame_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024 * 1024
    """Bytes of one frame from a router; longer ones cut the link."""
    tracing: Tracing = Tracing()
