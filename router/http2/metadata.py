"""gRPC's conventions for header values: grpc-timeout, binary metadata, percent-encoded status text.

Reference: PROTOCOL-HTTP2.md of the gRPC project.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

from router.http2.errors import LocalError
from serving.errors import InvalidRequest

Metadata = Sequence[tuple[str, str | bytes]]

_UNIT_S: Final = {0x48: 3600.0, 0x4D: 60.0, 0x53: 1.0, 0x6D: 1e-3, 0x75: 1e-6, 0x6E: 1e-9}  # H M S m u n
_PERCENT: Final = tuple(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in range(256))
_NAME: Final = re.compile(r"[0-9a-z_.\-]+")


def timeout_s(value: bytes) -> float:
    """Seconds of a grpc-timeout: 1 to 8 digits and a unit. Raises InvalidRequest."""
    digits = value[:-1]
    if not 1 <= len(digits) <= 8 or not digits.isdigit() or value[-1] not in _UNIT_S:
        raise InvalidRequest(
            f"{value[:40]!r} is no timeout", field="grpc-timeout", remedy="send 1 to 8 digits and one of H M S m u n"
        )
    return int(digits) * _UNIT_S[value[-1]]


def read_entry(name: bytes, value: bytes) -> list[tuple[str, str | bytes]]:
    """One received header as metadata; a binary one may hold several values, joined by commas.

    Raises InvalidRequest if a `-bin` value is no base64.
    """
    if not name.endswith(b"-bin"):
        return [(name.decode("ascii"), value.decode("latin-1"))]
    return [(name.decode("ascii"), _from_base64(name, part.strip())) for part in value.split(b",")]


def _from_base64(name: bytes, value: bytes) -> bytes:
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)  # padding is optional on the wire
    except binascii.Error:
        raise InvalidRequest(
            "value is not base64", field=name.decode("ascii"), remedy="binary metadata travels base64-encoded"
        ) from None


def write_value(name: str, value: str | bytes) -> bytes:
    """A metadata value as it travels. Raises LocalError if the name does not allow it."""
    if name.endswith("-bin"):
        raw = value.encode() if isinstance(value, str) else value
        return b64encode(raw).rstrip(b"=")
    if isinstance(value, bytes) or not (value.isascii() and value.isprintable()):
        raise LocalError(f"metadata {name!r}: only names that end in -bin may carry bytes or non-ASCII text")
    return value.strip().encode("ascii")


def check_name(name: str) -> bytes:
    """Raises LocalError for a name that may not be sent as metadata."""
    if not _NAME.fullmatch(name) or name.startswith("grpc-") or name in {"content-type", "te"}:
        raise LocalError(f"metadata name {name!r} is reserved or not lower-case letters, digits and _.-")
    return name.encode("ascii")


def percent_encode(text: str, max_bytes: int) -> bytes:
    """`grpc-message`: UTF-8 with everything but printable ASCII as %XX, cut between characters at `max_bytes`."""
    if text.isascii() and text.isprintable() and "%" not in text:
        return text[:max_bytes].encode("ascii")
    parts = []
    size = 0
    for character in text:
        encoded = "".join(_PERCENT[byte] for byte in character.encode("utf-8", "replace"))
        size += len(encoded)
        if size > max_bytes:
            break
        parts.append(encoded)
    return "".join(parts).encode("ascii")
