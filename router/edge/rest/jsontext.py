"""JSON in, with a bound on nesting and an error that says where.

NaN, Infinity and -Infinity are not JSON, but NumPy users and tritonclient send them; a text that holds such a word is
given to the standard library's parser, which accepts them and is slower.
"""

import json
import re
from typing import Final

import numpy as np
import orjson

from serving.errors import InvalidRequest

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEP: Final = np.zeros(256, np.int32)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1


def parse(text: bytes, max_depth: int, field: str = "body") -> object:
    """Raises InvalidRequest: nested too deeply, not UTF-8, not JSON (with line and column)."""
    _check_depth(text, max_depth, field)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" in text or b"Infinity" in text:
            return _parse_with_nan(text, field)
        raise _malformed(text, error, field) from None


def _parse_with_nan(text: bytes, field: str) -> object:
    try:
        document: object = json.loads(text.decode())
        orjson.dumps(document)  # refuses lone surrogates and integers beyond 64 bits, as orjson.loads does
    except UnicodeDecodeError as error:
        raise _not_utf8(error, field) from None
    except json.JSONDecodeError as error:
        raise _malformed(text, error, field) from None
    except (TypeError, ValueError, RecursionError):  # also numbers of thousands of digits, nesting beyond the stack
        raise InvalidRequest(
            "holds a text or number that cannot be represented", field=field, remedy="send valid Unicode and 64 bits"
        ) from None
    return document


def _malformed(text: bytes, error: json.JSONDecodeError, field: str) -> InvalidRequest:
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        return _not_utf8(fault, field)
    if not text.strip():
        return InvalidRequest("is empty", field=field, remedy="send a JSON object")
    return InvalidRequest(
        f"malformed JSON at line {error.lineno}, column {error.colno}: {error.msg}",
        field=field,
        remedy="send one JSON object",
    )


def _not_utf8(error: UnicodeDecodeError, field: str) -> InvalidRequest:
    return InvalidRequest(
        f"invalid UTF-8 at byte {error.start}",
        field=field,
        remedy="send JSON in UTF-8; binary tensors need the header inference-header-content-length",
    )


def _check_depth(text: bytes, max_depth: int, field: str) -> None:
    """Before parsing, because a parser has already built what is too deep. Two counts settle nearly every text."""
    if text.count(b"[") + text.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    depth = int(np.cumsum(_STEP[np.frombuffer(brackets, np.uint8)]).max(initial=0))
    if depth > max_depth:
        raise InvalidRequest(
            f"JSON is nested {depth} deep, router.limits.max_json_depth is {max_depth}",
            field=field,
            remedy="send flat data with a shape, or raise the setting",
        )
