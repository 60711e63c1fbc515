"""`dodona up`: the whole cluster on this machine, until Ctrl-C."""

from typing import Annotated

import typer

from dodona.cli.exits import reporting
from dodona.cli.options import ConfigFile


@reporting
def up(
    *,
    config: ConfigFile = None,
    repository: Annotated[
        str | None, typer.Option(metavar="FOLDER|URL", help="Where the models are.", show_default="./models")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC; 0 = any free port.", show_default="8001")] = None,
    http_port: Annotated[int | None, typer.Option(help="REST; 0 = any free port.", show_default="8000")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Prometheus; 0 = any free port.", show_default="8002")
    ] = None,
    router_processes: Annotated[
        int | None, typer.Option(metavar="N", help="Router processes sharing the ports.", show_default="1")
    ] = None,
    front: Annotated[str | None, typer.Option(help="gRPC server: http2 or grpcio.", show_default="http2")] = None,
    log_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where logs go, - = standard error.", show_default="see --explain"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for every event, for scripts.")
    ] = False,
) -> None:
    """Start a router and one worker per framework, and serve a repository until Ctrl-C.

    What is added, changed or removed meanwhile is picked up within seconds.
    Ctrl-C (or SIGTERM) drains: what was accepted is answered.
    A second Ctrl-C ends everything at once.

    Examples:

        dodona up                                      serve ./models

        dodona up --repository s3://bucket/models      serve a bucket

        dodona up --config dodona.yaml --grpc-port 9001
    """
    import asyncio

    from dodona.cli.serving import Output, serve
    from dodona.config import load

    flags: dict[str, tuple[str, object]] = {
        "--repository": ("repository", repository),
        "--host": ("router.host", host),
        "--grpc-port": ("router.grpc_port", grpc_port),
        "--http-port": ("router.http_port", http_port),
        "--metrics-port": ("router.metrics_port", metrics_port),
        "--router-processes": ("router.processes", router_processes),
        "--front": ("router.front", front),
        "--log-file": ("log_file", log_file),
    }
    settings = load(config, flags=flags).settings
    asyncio.run(serve(settings, Output(as_json=as_json)))
