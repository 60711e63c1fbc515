"""Reply header blocks, encoded without HPACK state: static-table references and literals that are never indexed.

Such a block means the same on every connection at any time, so the common ones are built once, here.
"""

from functools import lru_cache
from typing import Final

from router.http2.metadata import Metadata, check_name, percent_encode, write_value
from serving.errors import DodonaError
from serving.status import Status

ENCODINGS: Final = "identity,gzip"
# Told to a peer that shrank its HPACK table: we use none of it (RFC 7541, section 4.2).
NO_DYNAMIC_TABLE: Final = b"\x20"


def literal(name: bytes, value: bytes) -> bytes:
    """A header field, literal without indexing, no Huffman coding (RFC 7541, section 6.2.2)."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    if size < 127:
        return bytes((size,))
    size -= 127
    encoded = bytearray((127,))
    while size >= 128:
        encoded.append(size & 127 | 128)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


@lru_cache(maxsize=256)
def _literal_name(name: str) -> bytes:
    raw = check_name(name)
    return b"\x00" + _length(len(raw)) + raw


def metadata_block(metadata: Metadata) -> bytes:
    """Custom metadata. Raises LocalError for a name or value that may not be sent."""
    fields = []
    for name, value in metadata:
        raw = write_value(name, value)
        fields.append(_literal_name(name) + _length(len(raw)) + raw)
    return b"".join(fields)


OK_HEAD: Final = b"\x88" + b"\x0f\x10\x10application/grpc"  # :status 200; content-type by its static name
_STATUS: Final = {status: literal(b"grpc-status", str(int(status)).encode()) for status in Status}
OK_TRAILERS: Final = _STATUS[Status.OK]
_OFFER: Final = literal(b"grpc-accept-encoding", ENCODINGS.encode())


def trailers(status: Status, text: str, max_bytes: int, retry_after_s: float = 0.0) -> bytes:
    """The end of a call whose head has gone out already, or, behind OK_HEAD, of one that fails at once."""
    block = _STATUS[status]
    if text:
        block += literal(b"grpc-message", percent_encode(text, max_bytes))
    if retry_after_s > 0:
        block += literal(b"retry-after-ms", str(max(1, round(retry_after_s * 1000))).encode())
    return block


def error_trailers(error: DodonaError, max_bytes: int) -> bytes:
    return trailers(error.status, str(error), max_bytes, error.retry_after_s)


def unknown_encoding(encoding: str, max_bytes: int) -> bytes:
    """Trailers-only answer to a grpc-encoding we cannot read; says which we can."""
    text = f"grpc-encoding: {encoding[:40]!r} is not supported; use one of {ENCODINGS}"
    return OK_HEAD + trailers(Status.UNIMPLEMENTED, text, max_bytes) + _OFFER


def http_error(code: int, text: str, *extra: bytes) -> bytes:
    """A plain HTTP answer without a body, for a peer that does not speak gRPC; the text for one that does."""
    status = literal(b":status", str(code).encode())
    return status + b"".join(extra) + trailers(Status.INVALID_ARGUMENT, text, len(text) * 3)
