"""`make demo`: train, pack, serve and call three real models, then look at the cluster's metrics. Exits 0 if every
answer was right, 1 with what was wrong.

Everything it makes is below `.dodona/demo` and made anew each time; ports are free ones, so it disturbs nothing.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dodona import Client
from dodona.cluster import running
from dodona.config import ClusterSettings
from examples.calls import Asked, over_grpc, over_rest
from examples.progress import console, step
from examples.report import Samples, metrics, predictions, scrape
from examples.train import Trained, publish, trainings
from serving.log import configure

READY_WITHIN_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="The whole of Dodona in a minute.")
    parser.add_argument("--work", type=Path, default=Path(".dodona/demo"), help="folder for models, rows and logs")
    parser.add_argument("--front", choices=("http2", "grpcio"), default="http2", help="the router's gRPC server")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    console.print("[bold]Dodona[/]: three real models, three frameworks, one cluster on this machine")
    shutil.rmtree(asked.work, ignore_errors=True)
    try:
        faults = run(asked.work, asked.front)
    except Exception as error:
        faults = [f"{type(error).__name__}: {error}"]
    for fault in faults:
        console.print(f"[red]wrong[/] {fault}", highlight=False, soft_wrap=True)
    if faults:
        console.print(f"logs: {asked.work}/run/dodona.log", highlight=False, soft_wrap=True)
        return 1
    console.print(
        "[green]all answers as the models in memory give them[/], cluster stopped, "
        f"{time.monotonic() - started:.0f} s in all. Next:"
        " `python -m examples.train`, then `dodona up`",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def run(work: Path, front: str) -> list[str]:
    """The faults found. Raises DodonaError, OSError, RuntimeError."""
    models = trained_models(work)
    log_file = work / "run" / "dodona.log"
    log_file.parent.mkdir(parents=True)
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
        with step("start a router and one worker per framework") as note:
            cluster = stack.enter_context(running(settings))
            versions = cluster.ready(READY_WITHIN_S)
            note(f"gRPC {cluster.grpc_address}, REST {cluster.http_address}")
        faults = [f"{version.spec}: {version.reason}" for version in versions if version.state != "READY"]
        if faults or not versions:
            return faults or [f"no model found in {work / 'models'}"]
        client = stack.enter_context(Client(cluster.grpc_address))
        processes = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(cluster.pids.items()))
        console.print(f"  processes: {processes}", highlight=False, soft_wrap=True)
        with step("predict over gRPC and REST"):
            asked = ask(client, cluster.http_address, models)
        console.print(predictions(asked))
        with step("read the metrics"):
            router = scrape([cluster.metrics_address])
            workers = scrape(worker.metrics_address for worker in client.status().workers if worker.metrics_address)
        console.print(metrics(router, workers, [trained.name for trained in models]))
        faults = [fault for answer in asked for fault in answer.faults()]
        faults += uncounted(router, workers, models)
        with step("drain and stop"):
            stack.close()
    return faults


def trained_models(work: Path) -> list[Trained]:
    models = []
    for name, train in trainings(work).items():
        with step(f"train and pack {name}") as note:
            trained = train()
            publish(trained, work / "models", work)
            note(f"{len(trained.rows)} rows held out")
        models.append(trained)
    return models


def ask(client: Client, http_address: str, models: Sequence[Trained]) -> list[Asked]:
    asked = []
    for trained in models:
        over = over_grpc(client, trained)
        outputs = tuple(tensor.name for tensor in client.metadata(trained.name).outputs)
        asked += [over, over_rest(http_address, trained, over.version, outputs)]
    return asked


def uncounted(router: Samples, workers: Samples, models: Sequence[Trained]) -> list[str]:
    """Models whose requests, each of which succeeded, the metrics do not show."""
    return [
        f"{trained.name}: the metrics show no requests"
        for trained in models
        if not router["dodona_requests_total", trained.name] or not workers["dodona_batch_rows_sum", trained.name]
    ]


if __name__ == "__main__":
    sys.exit(main())
