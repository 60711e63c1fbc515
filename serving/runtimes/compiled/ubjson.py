"""Reads the subset of Universal Binary JSON (draft 12, ubjson.org) that XGBoost writes.

Typed arrays of numbers become NumPy arrays without a Python object an element, which is why this form and not the
JSON one is read; and it is exact, since no number was ever a text.
"""

from typing import Any, Final

import numpy as np

_INTS: Final = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}
"""Bytes of an integer; a length is never negative, so its sign does not matter."""
_DTYPES: Final[dict[bytes, np.dtype[Any]]] = {
    b"i": np.dtype(">i1"),
    b"U": np.dtype(">u1"),
    b"I": np.dtype(">i2"),
    b"l": np.dtype(">i4"),
    b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"),
    b"D": np.dtype(">f8"),
}
_CONSTANTS: Final[dict[bytes, Any]] = {b"Z": None, b"T": True, b"F": False}
_MAX_DEPTH: Final = 64


def read(content: bytes | bytearray) -> Any:
    """The document: objects as dicts, typed arrays as big-endian NumPy arrays (views), others as lists. Raises
    ValueError."""
    try:
        return _Reader(content).value(0)
    except UnicodeDecodeError as error:
        raise ValueError(f"not Universal Binary JSON: {error}") from error


class _Reader:
    def __init__(self, content: bytes | bytearray) -> None:
        self._content = bytes(content)
        self._at = 0

    def value(self, depth: int) -> Any:
        marker = self._marker()
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        if marker == b"{":
            return self._object(depth)
        if marker == b"[":
            return self._array(depth)
        if marker == b"S":
            return self._text()
        if marker in _DTYPES:
            return self._numbers(_DTYPES[marker], 1)[0].item()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        raise ValueError(f"unknown marker {marker!r} at byte {self._at - 1}")

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while self._peek() != b"}":
            name = self._text()
            members[name] = self.value(depth + 1)
        self._at += 1
        return members

    def _array(self, depth: int) -> Any:
        if self._peek() == b"$":
            self._at += 1
            dtype = _DTYPES.get(self._marker())
            if dtype is None or self._marker() != b"#":
                raise ValueError(f"a typed array of no number at byte {self._at}")
            return self._numbers(dtype, self._length())
        if self._peek() == b"#":
            self._at += 1
            return [self.value(depth + 1) for _ in range(self._length())]
        elements = []
        while self._peek() != b"]":
            elements.append(self.value(depth + 1))
        self._at += 1
        return elements

    def _text(self) -> str:
        size = self._length()
        return self._content[self._advance(size) : self._at].decode()

    def _length(self) -> int:
        size = _INTS.get(self._marker())
        if size is None:
            raise ValueError(f"no length at byte {self._at - 1}")
        length = int.from_bytes(self._content[self._advance(size) : self._at], "big")
        if length > len(self._content):
            raise ValueError(f"length {length} at byte {self._at}")
        return length

    def _numbers(self, dtype: np.dtype[Any], count: int) -> Any:
        return np.frombuffer(self._content, dtype, count, self._advance(count * dtype.itemsize))

    def _advance(self, size: int) -> int:
        """Past `size` bytes; returns where they begin."""
        begin = self._at
        self._at += size
        if self._at > len(self._content):
            raise ValueError(f"ends at byte {len(self._content)}, within a value")
        return begin

    def _marker(self) -> bytes:
        self._at += 1
        return self._content[self._at - 1 : self._at]

    def _peek(self) -> bytes:
        return self._content[self._at : self._at + 1] or self._end()

    def _end(self) -> bytes:
        raise ValueError(f"ends at byte {len(self._content)}, within a value")
