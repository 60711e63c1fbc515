"""The command line as a whole: what there is, and how it is introduced."""

from typing import Annotated

import typer

from dodona.cli.bundles import pack, verify
from dodona.cli.cluster import models, status
from dodona.cli.config import config
from dodona.cli.predict import predict
from dodona.cli.up import up
from dodona.cli.version import version

app = typer.Typer(
    name="dodona",
    help=(
        "Serve models: a gRPC and REST router in front of one worker per framework.\n\n"
        "Start with:  dodona pack model.onnx --name mine;  dodona up;  dodona predict mine --json '{...}'\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no cluster answers, 4 some model is broken, "
        "5 refused for now (try again), 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (up, pack, verify, models, predict, status, config, version):
    app.command()(_command)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed

        typer.echo(f"dodona {installed('dodona')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print Dodona's version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """What goes before a command."""


def main() -> None:
    app()
