"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration to read.", show_default="DODONA_CONFIG, else dodona.yaml"
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The router, grpc://HOST:PORT or grpcs://.",
        show_default="DODONA_URL, else the cluster of this folder",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for scripts.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="How long to wait for the answer.")]
