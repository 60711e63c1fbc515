"""Answers to bytes."""

from http import HTTPStatus
from typing import Final

import orjson

Header = tuple[bytes, bytes]

# 499 is nginx's for a caller that has gone; nobody reads it but our own tests and logs.
_REASONS: Final = {**{status.value: status.phrase for status in HTTPStatus}, 499: "Client Closed Request"}
STATUS_LINES: Final = {code: f"HTTP/1.1 {code} {phrase}\r\n".encode() for code, phrase in _REASONS.items()}
CONTINUE: Final = STATUS_LINES[100] + b"\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP: Final = b"connection: keep-alive\r\n"
_LARGE: Final = 64 * 1024  # bytes from which a body is not copied behind its head
_BODILESS: Final = (204, 304)


def written(headers: list[Header]) -> bytes:
    """Header lines. Values come from our own code or were checked when they came in, so they hold no line ends."""
    return b"".join([b"%s: %s\r\n" % header for header in headers])


def answer(status: int, lines: bytes, body: bytes, *, without_body: bool) -> list[bytes]:
    """What to write, in pieces. `lines` are the header lines but for the length; `without_body` answers HEAD."""
    if status in _BODILESS:
        return [b"".join((STATUS_LINES[status], lines, b"\r\n"))]
    head = (STATUS_LINES[status], lines, b"content-length: %d\r\n\r\n" % len(body))
    if without_body:
        return [b"".join(head)]
    if len(body) >= _LARGE:
        return [b"".join(head), body]
    return [b"".join((*head, body))]


def refusal(status: int, message: str) -> bytes:
    """An answer of the listener itself, after which the connection ends."""
    body = orjson.dumps({"error": message})
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    return b"".join(answer(status, b"content-type: application/json\r\n" + retry + CLOSE, body, without_body=False))
