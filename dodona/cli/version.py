"""`dodona version`."""

import typer

from dodona.cli.exits import reporting
from dodona.cli.options import AsJson


@reporting
def version(as_json: AsJson = False) -> None:
    """Versions of Dodona, Python and the frameworks installed here.

    Examples:

        dodona version

        dodona version --json
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    found = {"dodona": installed("dodona"), "python": platform.python_version()}
    for package in ("onnxruntime", "onnxruntime-gpu", "xgboost", "xgboost-cpu", "numpy", "grpcio"):
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            continue
    if as_json:
        import orjson

        typer.echo(orjson.dumps(found).decode())
        return
    for name, number in found.items():
        typer.echo(f"{name} {number}")
