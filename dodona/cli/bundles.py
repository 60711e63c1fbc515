"""`dodona pack` and `dodona verify`: bundles made and checked without a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dodona.cli.exits import BROKEN, FAILED, UsageError, reporting
from dodona.cli.options import AsJson

if TYPE_CHECKING:
    from serving.bundle.verify import VerifyReport


@reporting
def pack(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Model file (.onnx, .ubj, .json, .py) or folder; none = an echo model."),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="Name that callers will use.")] = "",
    repository: Annotated[Path, typer.Option(metavar="FOLDER", help="Repository to publish to.")] = Path("models"),
    version: Annotated[str | None, typer.Option(help="Version to publish.", show_default="the next integer")] = None,
    framework: Annotated[
        str | None, typer.Option(help="onnx, xgboost, python or echo.", show_default="told by the file")
    ] = None,
    class_: Annotated[
        str, typer.Option("--class", metavar="MODULE:CLASS", help="Framework python: the class to serve.")
    ] = "",
    definition: Annotated[
        Path | None,
        typer.Option(metavar="YAML", help="Take inputs, outputs, batching and texts from this model.yaml."),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(metavar="ROWS", help="Example inputs, .csv, .json or .parquet; checked at every load."),
    ] = None,
    golden_rows: Annotated[int, typer.Option(min=1, help="Examples to keep of --golden, evenly spread.")] = 32,
    description: Annotated[str, typer.Option(help="One line for people.")] = "",
    owner: Annotated[str, typer.Option(help="Whom to ask.")] = "",
    as_json: AsJson = False,
) -> None:
    """Publish a model file as a new version of a repository.

    It is loaded and tried out first, and becomes visible only when it is whole.
    A running cluster picks it up within seconds.

    Examples:

        dodona pack model.onnx --name digits

        dodona pack booster.ubj --name cancer --golden rows.csv --version 2024-06-01

        dodona pack scorer.py --name scorer --class scorer:Scorer --definition model.yaml
    """
    from dodona.cli.packing import pack_file
    from dodona.cli.show import print_json

    if not name:
        raise UsageError("--name is missing; choose the name that callers will use, for example --name digits")
    packed = pack_file(
        model,
        name=name,
        repository=repository,
        version=version,
        framework=framework,
        class_=class_,
        definition=definition,
        golden=golden,
        golden_rows=golden_rows,
        description=description,
        owner=owner,
    )
    if as_json:
        signature = packed.signature
        print_json(
            {
                "name": packed.spec.name,
                "version": packed.spec.version,
                "folder": str(packed.folder),
                "digest": packed.digest,
                "inputs": [str(tensor) for tensor in signature.inputs],
                "outputs": [str(tensor) for tensor in signature.outputs],
                "golden_rows": packed.golden_rows,
            }
        )
        return
    typer.echo(f"packed {packed.spec} to {packed.folder}")
    for kind, tensors in (("takes", packed.signature.inputs), ("gives", packed.signature.outputs)):
        typer.echo(f"  {kind}  {', '.join(str(tensor) for tensor in tensors)}")
    typer.echo(f"  golden examples: {packed.golden_rows}")
    typer.echo(f"next: dodona verify {repository / name}   or   dodona up --repository {repository}")


@reporting
def verify(
    path: Annotated[
        str,
        typer.Argument(help="A repository, a model in it, or one version: models, models/NAME or models/NAME/VERSION."),
    ],
    as_json: AsJson = False,
) -> None:
    """Put bundles through everything that a worker checks before it serves them.

    Definition, digests of all files, library versions, loading, signature, golden examples.

    Examples:

        dodona verify models/digits         the newest version

        dodona verify models/digits/3       that version

        dodona verify models --json         every version of every model
    """
    from dodona.cli.show import print_json
    from dodona.cli.verifying import reports

    found = list(reports(path))
    if as_json:
        print_json({"versions": [_as_json(report) for report in found]})
    else:
        for report in found:
            _print_report(report)
    if not all(report.ok for report in found):
        raise typer.Exit(FAILED if len(found) == 1 else BROKEN)


def _as_json(report: "VerifyReport") -> dict[str, object]:
    return {
        "name": report.spec.name,
        "version": report.spec.version,
        "ok": report.ok,
        "checks": [{"name": check.name, "outcome": str(check.outcome), "text": check.text} for check in report.checks],
    }


def _print_report(report: "VerifyReport") -> None:
    from rich.markup import escape

    from dodona.cli.show import console

    marks = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "skipped": "[dim]skipped[/]"}
    out = console()
    name = escape(str(report.spec) if report.spec.version else report.spec.name)
    out.print(f"[bold]{name}[/] {'can be served' if report.ok else '[red]cannot be served[/]'}")
    for check in report.checks:
        out.print(f"  {check.name:<12}{marks[str(check.outcome)]}  {escape(check.text)}")
