"""Every key of `dodona.yaml`. The text under a key is its documentation: `dodona config --explain` prints it."""

from typing import Literal

from pydantic import Field

from router.settings import RouterSettings
from serving.agent.settings import Supervise, WorkerPool
from serving.bundle.definition import Framework
from serving.settings import Settings


class ClusterSettings(Settings):
    repository: str = "./models"
    """Where the models are: a folder, or a URL that fsspec reads (s3://, gs://, http://)."""
    run_folder: str = ".dodona"
    """Folder for sockets, locks and logs of a running cluster; made if missing."""
    log_file: str = "auto"
    """File that all processes append their logs to; "-" = standard error; auto = standard error, or `dodona.log` in
    `run_folder` where standard error is a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written by agent and workers; the router has its own."""
    start_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that the router may take to listen."""
    router: RouterSettings = RouterSettings()
    """The process that callers talk to."""
    workers: dict[Framework, WorkerPool] = Field(default_factory=dict)
    """Framework -> how its workers run; a framework that is not named gets the defaults."""
    supervise: Supervise = Supervise()
    """Bounds on starting, restarting and stopping workers."""
