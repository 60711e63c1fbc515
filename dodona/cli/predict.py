"""`dodona predict`: one prediction, or a file of them."""

from pathlib import Path
from typing import Annotated

import typer

from dodona.cli.exits import UsageError, reporting
from dodona.cli.options import ConfigFile, Timeout, Url


@reporting
def predict(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    *,
    json_text: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="JSON", help="The input: a record, a list of records, or {input: values}; - reads stdin."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="ROWS", help="Rows to predict: .csv, .json, .jsonl or .parquet.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answers here, same kinds.")
    ] = None,
    version: Annotated[str, typer.Option(help="Version or label.", show_default="stable, else the newest")] = "",
    as_table: Annotated[
        bool | None,
        typer.Option("--table/--raw", help="Table or JSON.", show_default="a table on a terminal, else JSON"),
    ] = None,
    keep_inputs: Annotated[bool, typer.Option("--keep-inputs", help="Repeat the input columns of --file.")] = False,
    batch_rows: Annotated[
        int, typer.Option(min=0, metavar="ROWS", help="Rows of --file in one request; 0 = as the model says.")
    ] = 0,
    in_flight: Annotated[int, typer.Option(min=1, metavar="N", help="Requests of --file under way at once.")] = 8,
    url: Url = None,
    config: ConfigFile = None,
    timeout: Timeout = 30.0,
) -> None:
    """Ask a model for predictions.

    JSON answers have the keys model, version, request_id, elapsed_s, outputs.
    With --file and without --output they have a record for each row.

    Examples:

        dodona predict iris --json '{"sepal length": 5.1, "sepal width": 3.5, ...}'

        dodona predict digits --json '{"image": [[0, 0, 5, ...]]}'

        cat record.json | dodona predict iris --json -

        dodona predict iris --file rows.csv --output predictions.csv
    """
    if (json_text is None) == (file is None):
        raise UsageError("give the input either as --json '{...}' (- for stdin) or as --file rows.csv")
    if json_text is not None and output is not None:
        raise UsageError("--output goes with --file; redirect the JSON of a single prediction")
    import sys

    from dodona.cli.predicting import Answers, parse_json, predict_file, predict_one
    from dodona.cli.target import target
    from dodona.client import Client

    table = sys.stdout.isatty() if as_table is None else as_table
    answers = Answers(table=table, output=output)
    inputs = parse_json(json_text) if json_text is not None else None
    with Client(target(url, config), timeout_s=timeout) as client:
        if file is None:
            predict_one(client, model, inputs, version, answers)
        else:
            predict_file(
                client,
                model,
                file,
                version,
                answers,
                keep_inputs=keep_inputs,
                batch_rows=batch_rows,
                in_flight=in_flight,
            )
