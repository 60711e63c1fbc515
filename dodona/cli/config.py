"""`dodona config`: the effective configuration, and every key explained."""

from typing import Annotated

import typer

from dodona.cli.exits import reporting
from dodona.cli.options import AsJson, ConfigFile


@reporting
def config(
    file: ConfigFile = None,
    explain: Annotated[bool, typer.Option("--explain", help="Every key with type, default and meaning.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the effective configuration as YAML, with the source of every value that is not a default.

    Secrets are hidden.

    Examples:

        dodona config                                  what `dodona up` would use here

        DODONA_ROUTER__GRPC_PORT=9001 dodona config    with an override

        dodona config --explain | less                 every key there is
    """
    if explain:
        _explain(as_json)
        return
    from dodona.cli.show import print_json
    from dodona.config import load
    from dodona.config.show import as_json as json_form
    from dodona.config.show import as_yaml

    configuration = load(file)
    if as_json:
        print_json(json_form(configuration))
    else:
        typer.echo(as_yaml(configuration), nl=False)


def _explain(as_json: bool) -> None:
    from dodona.cli.show import print_json
    from dodona.config.explain import as_text, explained
    from dodona.config.fields import shown

    keys = explained()
    if not as_json:
        typer.echo(as_text(keys), nl=False)
        return
    print_json(
        [
            {"key": key.name, "type": key.kind, "default": shown(key.default), "meaning": key.text}
            for key in keys
            if not key.block
        ]
    )
