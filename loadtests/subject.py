"""The cluster under test: the demo's XGBoost model alone, or with the other two, on ports of its own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from dodona import Client
from dodona.client.description import Description
from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from examples.train import Rows, publish, trainings
from serving.log import configure

Answers = NDArray[np.float32]

MODEL = "breast-cancer"
READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far and resident bytes, by process: "router", or a worker's name."""

    cpu_s: dict[str, float]
    rss: dict[str, int]


@dataclass(frozen=True)
class Subject:
    cluster: SyncCluster
    client: Client
    model: Description
    rows: Rows
    work: Path
    ready_s: float
    """From nothing to every model ready, in seconds."""

    def usage(self) -> Usage:
        """Of each process of the cluster with all its descendants."""
        cpu_s, rss = {}, {}
        for name, pid in self.cluster.pids.items():
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
            times = [process.cpu_times() for process in family]
            cpu_s[name] = sum(each.user + each.system for each in times)
            rss[name] = sum(process.memory_info().rss for process in family)
        return Usage(cpu_s, rss)

    def succeeded(self) -> tuple[int, int]:
        """Requests that the router has answered rightly and wrongly so far."""
        counts = self.client.statistics(self.model.name)[0].inference_stats
        return counts.success.count, counts.fail.count

    def wrong_answers(self, expected: Answers) -> int:
        """How many held-out rows, asked one by one, are not answered as the model in memory does."""
        answers = [self.client.predict(self.model.name, [row.tolist()]).output.ravel()[0] for row in self.rows]
        return int((~np.isclose(np.array(answers), expected, rtol=1e-5, atol=1e-6)).sum())

    def expected(self) -> Answers:
        """What the packed Booster itself says of the held-out rows, in this process."""
        import xgboost

        folder = self.work / "models" / MODEL / "1"
        booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
        answers: Answers = booster.inplace_predict(self.rows, validate_features=False)
        return answers


@contextmanager
def subject(work: Path, front: str) -> Iterator[Subject]:
    """Train what is missing, then run a cluster of all three models. Raises DodonaError, ClusterError."""
    rows = trained(work)
    log_file = work / "run" / "dodona.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    settings = ClusterSettings.model_validate(
        {
            "repository": str(work / "models"),
            "run_folder": str(work / "run"),
            "log_file": str(log_file),
            "router": {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "front": front},
        }
    )
    with ExitStack() as stack:
        # The agent runs in this process; its lines belong with those of the processes it starts.
        configure("agent", stream=stack.enter_context(log_file.open("a")))
        started = time.monotonic()
        cluster = stack.enter_context(running(settings))
        late = [version for version in cluster.ready(READY_WITHIN_S) if version.state != "READY"]
        ready_s = time.monotonic() - started
        if late:
            raise RuntimeError(f"{late[0].spec} is not ready: {late[0].reason}")
        client = stack.enter_context(Client(cluster.grpc_address))
        yield Subject(cluster, client, client.metadata(MODEL), rows, work, ready_s)


def trained(work: Path) -> Rows:
    """The held-out rows of the model; trains and packs all three models where they are not there yet."""
    for name, train in trainings(work).items():
        if not (work / "models" / name / "1" / "MANIFEST.json").exists():
            publish(train(), work / "models", work)
    rows: Rows = np.loadtxt(work / MODEL / "rows.csv", delimiter=",", skiprows=1, dtype=np.float32)
    return rows
