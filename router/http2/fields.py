"""Header fields as RFC 9113 section 8 wants them: which are well-formed, which pseudo headers must come, and where."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from router.http2.errors import MalformedRequest

Field = tuple[bytes, bytes]

_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")


def check_plain(fields: Iterable[Field]) -> None:
    """Fields other than pseudo headers. Raises MalformedRequest."""
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in _CONNECTION_SPECIFIC:
            raise MalformedRequest(f"malformed request: header {name[:40]!r}")
        if _BAD_VALUE.search(value):
            raise MalformedRequest(f"malformed request: value of header {name.decode()}")


def pseudo_headers(fields: Sequence[Field]) -> dict[bytes, bytes]:
    """The pseudo headers, which must all stand in front, once each. Raises MalformedRequest."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in _PSEUDO or name in pseudo or _BAD_VALUE.search(value):
            raise MalformedRequest(f"malformed request: pseudo header {name[:40]!r}")
        pseudo[name] = value
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise MalformedRequest("malformed request: needs :method, :scheme and :path")
    return pseudo


def content_length(fields: Iterable[Field]) -> int | None:
    """Raises MalformedRequest if it is no number, or differs from another one."""
    values = {value for name, value in fields if name == b"content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not value.isdigit() or len(value) > 18:
        raise MalformedRequest("malformed request: content-length")
    return int(value)
