"""The file in the run folder that says where a running cluster listens, so that commands find it without being told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

ADDRESSES_FILE: Final = "addresses.json"
_DIALLED: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}


def write_addresses(folder: Path, listeners: Mapping[str, str]) -> None:
    """grpc, http, metrics, link -> `host:port`. A wildcard host becomes one that can be dialled."""
    reachable = {name: _reachable(address) for name, address in listeners.items()}
    (folder / ADDRESSES_FILE).write_bytes(orjson.dumps(reachable) + b"\n")


def _reachable(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return f"{_DIALLED.get(host, host)}{colon}{port}"


def forget_addresses(folder: Path) -> None:
    (folder / ADDRESSES_FILE).unlink(missing_ok=True)
