"""`dodona models` and `dodona status`: what a running cluster says of itself."""

from typing import TYPE_CHECKING, Annotated

import typer

from dodona.cli.exits import BROKEN, reporting
from dodona.cli.options import AsJson, ConfigFile, Timeout, Url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from protos import admin_pb2


@reporting
def models(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only this model.")] = None,
    url: Url = None,
    config: ConfigFile = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """List model versions with their state, and the reason where one is not served.

    With a name, its inputs and outputs too.
    A * marks the version that a request without one gets.
    Exit code 4: some version is FAILED.

    Examples:

        dodona models

        dodona models digits --json | jq '.models[].state'
    """
    from dodona.cli.show import print_json, version_as_json
    from serving.errors import ModelNotFound

    status = _status(url, config, timeout)
    found = [model for model in status.models if name is None or model.name == name]
    if name is not None and not found:
        known = sorted({model.name for model in status.models})
        raise ModelNotFound(f"no model {name!r}", remedy=f"there is {', '.join(known)}" if known else "there is none")
    if as_json:
        print_json({"models": [version_as_json(model) for model in found]})
    elif found:
        _print_models(found, signed=name is not None)
        _print_faults(status.workers)
    else:
        typer.echo("no models yet; put one into the repository with `dodona pack FILE --name NAME`")
    _exit_if_broken(found)


@reporting
def status(
    url: Url = None,
    config: ConfigFile = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Show the router, its workers, queues and models. Exit code 4: some version is FAILED.

    Examples:

        dodona status

        dodona status --url grpc://router.example:8001 --json
    """
    from rich.markup import escape

    from dodona.cli.show import console, print_json, span, version_as_json, worker_as_json

    answer = _status(url, config, timeout)
    if as_json:
        print_json(
            {
                "router": answer.router,
                "version": answer.version,
                "uptime_s": answer.uptime_s,
                "draining": answer.draining,
                "pending": answer.pending,
                "in_flight": answer.in_flight,
                "listeners": {listener.protocol: listener.address for listener in answer.listeners},
                "workers": [worker_as_json(worker) for worker in answer.workers],
                "models": [version_as_json(model) for model in answer.models],
            }
        )
    else:
        from dodona.cli.show import print_workers

        out = console()
        draining = " [yellow]draining[/]" if answer.draining else ""
        out.print(f"[bold]{escape(answer.router)}[/] {answer.version}, up {span(answer.uptime_s)}{draining}")
        for listener in answer.listeners:
            out.print(f"  {listener.protocol:<8} {escape(listener.address)}")
        out.print(f"  requests {answer.pending} waiting, {answer.in_flight} at workers\n")
        print_workers(answer.workers)
        out.print()
        _print_models(answer.models)
        _print_faults(answer.workers)
    _exit_if_broken(answer.models)


def _status(url: str | None, config: "Path | None", timeout_s: float) -> "admin_pb2.StatusResponse":
    from dodona.cli.target import target
    from dodona.client import Client

    with Client(target(url, config)) as client:
        return client.status(timeout_s=timeout_s)


def _print_models(models: "Sequence[admin_pb2.ModelVersion]", *, signed: bool = False) -> None:
    from dodona.cli.show import console, print_models, reasons, signatures

    out = console()
    print_models(models)
    for line in (*(signatures(models) if signed else ()), *reasons(models)):
        out.print(line)


def _print_faults(workers: "Iterable[admin_pb2.Worker]") -> None:
    from dodona.cli.show import console, faults

    out = console()
    for line in faults(workers):
        out.print(line)


def _exit_if_broken(models: "Iterable[admin_pb2.ModelVersion]") -> None:
    if any(model.state == "FAILED" for model in models):
        raise typer.Exit(BROKEN)
