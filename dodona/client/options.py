"""Where the client connects and how: the URL, TLS, limits. Read once, when a client is made."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from serving.errors import ConfigurationError

DEFAULT_URL: Final = "grpc://127.0.0.1:8001"
DEFAULT_PORT: Final = 8001
# Equal to the router's default limit, so that whatever it accepts can be sent and read.
DEFAULT_MESSAGE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """`target` is "host:port"; `secure` asks for TLS."""

    target: str
    secure: bool = False

    def __str__(self) -> str:
        return f"{'grpcs' if self.secure else 'grpc'}://{self.target}"


def parse_url(url: str) -> Address:
    """`grpc://host:port`, `grpcs://host:port` (TLS) or `host:port`; the port defaults to 8001. Raises
    ConfigurationError."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "grpc", url
    remedy = f"write grpc://HOST:PORT, for example {DEFAULT_URL}"
    if scheme in ("http", "https"):
        raise ConfigurationError(f"{url} is a REST address, this client speaks gRPC", field="url", remedy=remedy)
    if scheme not in ("grpc", "grpcs"):
        raise ConfigurationError(f"unknown scheme {scheme!r}", field="url", remedy=remedy)
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url}: {error}", field="url", remedy=remedy) from None
    if not host or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{url} is not an address", field="url", remedy=remedy)
    bracketed = f"[{host}]" if ":" in host else host
    return Address(f"{bracketed}:{DEFAULT_PORT if port is None else port}", secure=scheme == "grpcs")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a client was told. `timeout_s` is the deadline of a call that names none; `retries` how often an
    UNAVAILABLE or a shed call with a retry delay is tried again, within the deadline; `headers` go with every call.
    `ca`, `certificate` and `key` are PEM bytes, empty where not given."""

    address: Address
    timeout_s: float
    retries: int
    max_message_bytes: int
    headers: tuple[tuple[str, str], ...] = ()
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""


def options_from(
    url: str | None,
    *,
    timeout_s: float,
    retries: int,
    max_message_bytes: int,
    headers: Mapping[str, str] | None,
    ca: str | Path | None,
    certificate: str | Path | None,
    key: str | Path | None,
) -> Options:
    """Check and read what a client was given. Raises ConfigurationError."""
    address = parse_url(url or os.environ.get("DODONA_URL") or DEFAULT_URL)
    if timeout_s <= 0:
        raise ConfigurationError(f"must be above 0, got {timeout_s}", field="timeout_s", remedy="give seconds")
    if retries < 0:
        raise ConfigurationError(f"must not be negative, got {retries}", field="retries", remedy="0 = never retry")
    if (ca or certificate or key) and not address.secure:
        raise ConfigurationError(f"{address} has no TLS to use certificates with", field="url", remedy="write grpcs://")
    if bool(certificate) != bool(key):
        raise ConfigurationError("a certificate and its key come together", field="certificate", remedy="give both")
    return Options(
        address,
        timeout_s,
        retries,
        max_message_bytes,
        tuple((name.lower(), value) for name, value in (headers or {}).items()),
        _read(ca, "ca"),
        _read(certificate, "certificate"),
        _read(key, "key"),
    )


def _read(path: str | Path | None, field: str) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", field=field, remedy="name a PEM file"
        ) from None
