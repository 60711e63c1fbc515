"""The cluster under test, on ports of its own: the demo's three models, or a repository that is given."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dodona import Client
from dodona.client.description import Description
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from examples.train import Rows, publish, trainings
from loadtests import processes
from loadtests.processes import Usage
from serving.log import configure

Answers = NDArray[np.float32]

MODEL = "breast-cancer"
READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Subject:
    cluster: SyncCluster
    client: Client
    model: Description
    ready_s: float
    """From nothing to every model ready, in seconds."""

    def usage(self) -> Usage:
        return processes.usage(self.cluster.pids)

    def succeeded(self) -> tuple[int, int]:
        """Requests that the router has answered rightly and wrongly so far."""
        counts = self.client.statistics(self.model.name)[0].inference_stats
        return counts.success.count, counts.fail.count


@contextmanager
def subject(
    work: Path,
    front: str,
    *,
    repository: Path | None = None,
    model: str = MODEL,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Subject]:
    """Run a cluster of the repository; None: of all three models, trained first where missing. `settings` are added
    to the bench's own, in the form of dodona.yaml. Raises DodonaError, ClusterError."""
    if repository is None:
        trained(work)
        repository = work / "models"
    log_file = work / "run" / "dodona.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    own = {
        "repository": str(repository),
        "run_folder": str(work / "run"),
        "log_file": str(log_file),
        "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "front": front},
    }
    chosen = ClusterSettings.model_validate(joined(own, settings or {}))
    with ExitStack() as stack:
        # The agent runs in this process; its lines belong with those of the processes it starts.
        log = stack.enter_context(log_file.open("a"))
        # Clusters may be nested: what the outer one says when this one has gone belongs in its own file.
        stack.callback(logging.getLogger().handlers.__setitem__, slice(None), logging.getLogger().handlers[:])
        configure("agent", stream=log)
        started = time.monotonic()
        cluster = stack.enter_context(running(chosen))
        late = [version for version in cluster.ready(READY_WITHIN_S) if version.state != "READY"]
        ready_s = time.monotonic() - started
        if late:
            raise RuntimeError(f"{late[0].spec} is not ready: {late[0].reason}")
        client = stack.enter_context(Client(cluster.grpc_address))
        yield Subject(cluster, client, client.metadata(model), ready_s)


def joined(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Both, block by block; where both say something, the others."""
    made = dict(settings)
    for key, value in others.items():
        former = made.get(key)
        made[key] = joined(former, value) if isinstance(former, Mapping) and isinstance(value, Mapping) else value
    return made


def trained(work: Path, names: Sequence[str] = ()) -> None:
    """Train and pack the demo's models (all, or those named) where they are not there yet."""
    for name, train in trainings(work).items():
        if (not names or name in names) and not (work / "models" / name / "1" / "MANIFEST.json").exists():
            publish(train(), work / "models", work)


def held_out(work: Path) -> Rows:
    """The rows of the model that it was not trained on, shape (n, 30)."""
    rows: Rows = np.loadtxt(work / MODEL / "rows.csv", delimiter=",", skiprows=1, dtype=np.float32)
    return rows


def expected(work: Path, rows: Rows) -> Answers:
    """What the packed Booster itself says of the rows, in this process, shape (n,)."""
    import xgboost

    booster = xgboost.Booster(model_file=str(work / "models" / MODEL / "1" / "model.ubj"))
    answers: Answers = booster.inplace_predict(rows, validate_features=False)
    return answers
