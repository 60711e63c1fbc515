"""Which cluster a command means: --url, else DODONA_URL, else the one that runs in this folder, else the one that the
configuration describes."""

import os
from pathlib import Path

import orjson

from dodona.cluster.addresses import ADDRESSES_FILE
from dodona.config import load


def target(url: str | None, config: Path | None = None) -> str:
    """Raises ConfigurationError."""
    given = url or os.environ.get("DODONA_URL")
    if given:
        return given
    settings = load(config).settings
    scheme = "grpcs" if settings.router.tls.certificate else "grpc"
    running = _running(Path(settings.run_folder))
    if running:
        return f"{scheme}://{running}"
    host = "127.0.0.1" if settings.router.host in ("0.0.0.0", "::", "") else settings.router.host
    return f"{scheme}://{host}:{settings.router.grpc_port}"


def _running(run_folder: Path) -> str:
    """The gRPC address of the cluster that runs in this folder; empty where none does."""
    try:
        addresses = orjson.loads((run_folder / ADDRESSES_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ""
    return str(addresses.get("grpc", "")) if isinstance(addresses, dict) else ""
