"""What `dodona up` does: run the cluster, say what happens, drain on the first signal, kill on the second."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, TextIO

import orjson
import typer
from rich.markup import escape
from rich.status import Status

from dodona.cli.example import example_calls
from dodona.cli.show import console, span, state
from dodona.cluster.local import ClusterError, LocalCluster
from dodona.cluster.run_folder import open_log
from dodona.config.settings import ClusterSettings
from serving.agent.plan import VersionStatus
from serving.errors import DodonaError
from serving.log import configure
from serving.spec import ModelSpec, State

_SAME_WISH_S: Final = 0.3


class Output:
    """Lines for people, or one JSON object an event for scripts; either way each is flushed at once.

    Who reads them may go: the cluster serves on, and nobody is told any more.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = console()
        self._told: dict[ModelSpec, tuple[State, str]] = {}
        self._fault = ""
        self._spinner: Status | None = None
        self._ending = False

    def say(self, markup: str = "") -> None:
        """For people only."""
        if not self._as_json:
            with suppress(OSError):
                self._console.print(markup, soft_wrap=True)
                self._console.file.flush()

    def event(self, event: str, /, **fields: object) -> None:
        """For scripts only."""
        if self._as_json:
            with suppress(OSError):
                typer.echo(orjson.dumps({"event": event, **fields}).decode())
                sys.stdout.flush()

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner, if a person watches; while versions load it names them."""
        if self._as_json or not self._console.is_terminal:
            yield
            return
        with self._console.status(text) as self._spinner:
            yield
        self._spinner = None

    def ending(self, *, asked: bool) -> None:
        """From now on versions lose their workers because they are meant to; that is no news. `asked`: by a signal."""
        self._ending = True
        if asked:
            self.event("draining")

    def changed(self, cluster: LocalCluster) -> None:
        """A line for every version whose state or reason is new, and for those that went; none while the cluster
        ends."""
        if self._ending:
            return
        if cluster.repository_fault != self._fault:
            self._fault = cluster.repository_fault
            self.event("repository", fault=self._fault)
            if self._told and self._fault:
                self.say(f"  [red]the repository cannot be read:[/] {escape(self._fault)}")
        now = {version.spec: (version.state, version.reason) for version in cluster.versions}
        loading = [escape(str(version.spec)) for version in cluster.versions if version.state is State.LOADING]
        if self._spinner and loading:
            self._spinner.update(f"loading {', '.join(loading)}")
        for version in cluster.versions:
            if self._told.get(version.spec) != now[version.spec]:
                self._version(version)
        for spec in self._told.keys() - now.keys():
            self._event_of(VersionStatus(spec, "", State.UNAVAILABLE), "REMOVED")
            self.say(f"  {_name(spec)} [dim]removed[/]")
        self._told = now

    def _version(self, version: VersionStatus) -> None:
        self._event_of(version, str(version.state))
        if version.state is State.LOADING and not version.reason:
            return  # the spinner, or patience, says so
        took = f" in {span(version.load_s)}" if version.state is State.READY and version.load_s else ""
        reason = f": {escape(version.reason)}" if version.reason else ""
        self.say(f"  {_name(version.spec)} {state(str(version.state))}{took}{reason}")

    def _event_of(self, version: VersionStatus, word: str) -> None:
        """`word`: its state, or REMOVED once it has gone."""
        self.event(
            "version",
            name=version.spec.name,
            version=version.spec.version,
            framework=version.framework,
            state=word,
            reason=version.reason,
            load_s=version.load_s,
        )


async def serve(settings: ClusterSettings, output: Output) -> None:
    """Until SIGINT or SIGTERM. Raises ConfigurationError, ClusterError."""
    cluster = LocalCluster(settings, on_change=output.changed)
    stop = _stop_on_signals(cluster, output)
    with _logging(cluster, settings):
        starting = asyncio.create_task(_announce(cluster, output))
        stopped = asyncio.create_task(stop.wait())
        owned: list[asyncio.Task[Any]] = [starting, stopped]
        try:
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                ended = asyncio.create_task(cluster.ended())
                owned.append(ended)
                await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    ended.result()
                    raise ClusterError("a part of the cluster ended by itself", remedy="see its log")
        finally:
            for task in owned:
                task.cancel()
            await asyncio.gather(*owned, return_exceptions=True)
            output.ending(asked=stop.is_set())
            with output.waiting("draining: what was accepted is answered; Ctrl-C again stops at once"):
                await cluster.stop()
    output.event("stopped")
    output.say("stopped")


def _stop_on_signals(cluster: LocalCluster, output: Output) -> asyncio.Event:
    """The first signal drains, a later one kills.

    `timeout` and process supervisors signal the process and then its group: what comes at the same time is one wish.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    patient_until = 0.0

    def asked() -> None:
        nonlocal patient_until
        if not stop.is_set():
            patient_until = loop.time() + _SAME_WISH_S
            stop.set()
        elif loop.time() > patient_until:
            output.say("[yellow]stopping at once[/]")
            cluster.kill()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, asked)
    return stop


def _logging(cluster: LocalCluster, settings: ClusterSettings) -> AbstractContextManager[TextIO | None]:
    """Our own log lines go where the children's go."""
    if cluster.log_path is None:
        configure("agent", settings.log_level)
        return nullcontext()
    stream = os.fdopen(open_log(cluster.log_path), "a", encoding="utf-8", buffering=1)
    configure("agent", settings.log_level, stream)
    return stream


async def _announce(cluster: LocalCluster, output: Output) -> None:
    settings = cluster.settings
    with output.waiting("starting the router"):
        await cluster.start()
    output.event(
        "started",
        grpc=cluster.grpc_address,
        http=cluster.http_address,
        metrics=cluster.metrics_address,
        repository=settings.repository,
    )
    output.say(f"[bold]Dodona[/] serves {escape(settings.repository)}")
    output.say(f"  gRPC     {cluster.grpc_address}")
    output.say(f"  REST     http://{cluster.http_address}")
    output.say(f"  metrics  http://{cluster.metrics_address}/metrics")
    if cluster.log_path is not None:
        output.say(f"  logs     {escape(_short(cluster.log_path))}")
    output.say()
    with output.waiting("loading models"):
        versions = await cluster.ready()
    output.event("ready", models=sum(version.state is State.READY for version in versions))
    if any(version.state is State.READY for version in versions):
        await _say_how_to_call(cluster, output)
    elif not versions:
        say_what_to_do(output, settings.repository, cluster.repository_fault)
    output.say("[dim]Ctrl-C drains and stops.[/]")


async def _say_how_to_call(cluster: LocalCluster, output: Output) -> None:
    try:
        calls = await example_calls(cluster)
    except DodonaError as error:
        logging.getLogger(__name__).warning("no example call", extra={"reason": str(error)})
        return
    output.say("\nTry it, in another terminal:")
    for call in calls:
        output.say(f"  {escape(call)}")
    output.say()


def say_what_to_do(output: Output, repository: str, fault: str) -> None:
    """Where there is no model. `fault`: why the repository cannot be read."""
    missing = "://" not in repository and not Path(repository).exists()
    folder = "" if repository == "./models" else f" --repository {repository}"
    if fault and not missing:  # it names the repository itself
        output.say(f"[yellow]Nothing to serve yet:[/] {escape(fault)}")
        return
    why = "does not exist" if missing else "holds no model"
    output.say(f"[yellow]Nothing to serve yet:[/] {escape(repository)} {why}.")
    output.say("Put a model there, it is picked up within seconds. In another terminal:")
    output.say(escape(f"  dodona pack model.onnx --name my-model{folder}"))
    output.say()


def _name(spec: ModelSpec) -> str:
    return escape(str(spec) if spec.version else spec.name)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
