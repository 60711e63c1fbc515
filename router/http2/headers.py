"""Header blocks in, request heads out: HPACK (RFC 7541) with a cache in front.

A busy client sends the same few blocks again and again. A block means the same as long as the dynamic table has not
changed, so heads are kept by the bytes of their block, and forgotten whenever a block adds to, or resizes, the table;
such a block itself is never kept. That leaves clients whose headers vary (a grpc-timeout in microseconds, a trace
id): those change the table with every request. For them the loop in `_fields` reads the representations that clients
really use straight from the bytes, about ten times faster than the general decoder; whatever it does not take (table
size updates, integers of more than two bytes, anything malformed) is left to python-hyper's decoder, from that very
field on, over the same table.
"""

from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from router.http2 import huffman
from router.http2.blocks import check_block
from router.http2.errors import ErrorCode, RemoteError
from router.http2.fields import Field
from router.http2.huffman import HuffmanError
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader, RequestHead

_STATIC: Final[tuple[Field, ...]] = tuple(HeaderTable.STATIC_TABLE)
_FIRST_DYNAMIC: Final = len(_STATIC) + 1
_FIELD_OVERHEAD: Final = 32  # bytes a field counts for beyond its text (RFC 7541, section 4.1)
# Large blocks are rare and would let a peer pin a lot of memory in the cache.
_LARGEST_CACHED_BLOCK: Final = 1024


class _LeaveToHpackError(Exception):
    """The fast loop does not take this representation."""


class BlockReader:
    """The receiving half of HPACK for one connection. Blocks must be given in the order they came, all of them."""

    __slots__ = ("_hpack", "_limits", "_max_bytes", "_max_heads", "_reader", "_table", "heads")

    def __init__(self, reader: HeadReader, limits: Http2Limits) -> None:
        # Past its limit hpack stops amid the block and is of no use any more; ours reads on, to keep the table right.
        self._hpack = Decoder(max_header_list_size=4 * limits.max_header_bytes)
        self._table: HeaderTable = self._hpack.header_table
        self.heads: dict[bytes, RequestHead] = {}
        """What blocks mean that are known by their bytes."""
        self._max_heads = limits.head_cache_entries
        self._max_bytes = limits.max_header_bytes
        self._limits = limits
        self._reader = reader

    def request(self, block: bytes) -> RequestHead:
        """Raises RemoteError (COMPRESSION_ERROR), MalformedRequest."""
        head = self.heads.get(block)
        if head is not None:
            return head
        fields, changed = self._fields(block)
        head = self._reader.oversized() if fields is None else self._reader.read(fields)
        if not changed and len(block) <= _LARGEST_CACHED_BLOCK and self._max_heads:
            if len(self.heads) >= self._max_heads:
                self.heads.clear()
            self.heads[block] = head
            head.known = True
        return head

    def trailers(self, block: bytes) -> list[Field]:
        """Fields of any other block; none if there are more than the limit. Raises RemoteError."""
        return self._fields(block)[0] or []

    def _fields(self, block: bytes) -> tuple[list[Field] | None, bool]:
        """(fields, or None above the limit; whether the table may have changed)."""
        check_block(len(block), self._limits)
        fields: list[Field] = []
        size = start = 0
        changed = False
        entries = self._table.dynamic_entries
        try:
            while start < len(block):
                first = block[start]
                if first > 0x80:  # indexed field
                    index, stop = (first - 0x80, start + 1) if first < 0xFF else _integer(block, start, 0x7F)
                    field = _STATIC[index - 1] if index < _FIRST_DYNAMIC else entries[index - _FIRST_DYNAMIC]
                else:
                    field, stop = self._literal(block, start, first)
                    if first & 0x40:
                        changed = True
                        self._table.add(*field)
                start = stop  # only now: what the loop does not take is left to hpack from this field on
                size += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
                if size <= self._max_bytes:
                    fields.append(field)
        except (_LeaveToHpackError, HuffmanError, IndexError):
            changed = True
            rest = self._general(block[start:], bool(fields))
            fields += rest
            size += sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in rest)
        if changed:
            self.heads.clear()
        return (fields if size <= self._max_bytes else None), changed

    def _literal(self, block: bytes, start: int, first: int) -> tuple[Field, int]:
        """The literal field at `start` and where it ends. Raises _LeaveToHpackError, IndexError; changes nothing."""
        if first & 0xE0 == 0x20 or first == 0x80:  # table size update; index zero
            raise _LeaveToHpackError
        index, start = _integer(block, start, 0x3F if first & 0x40 else 0x0F)
        if index:
            if index < _FIRST_DYNAMIC:
                name = _STATIC[index - 1][0]
            else:
                name = self._table.dynamic_entries[index - _FIRST_DYNAMIC][0]
        else:
            name, start = _string(block, start)
        value, start = _string(block, start)
        return (name, value), start

    def _general(self, block: bytes, after_fields: bool) -> list[Field]:
        if after_fields and block[0] & 0xE0 == 0x20:
            raise RemoteError(ErrorCode.COMPRESSION_ERROR, "table size update within a header block")
        try:
            return [(name, value) for name, value in self._hpack.decode(block, raw=True)]
        except (HPACKError, IndexError) as error:
            raise RemoteError(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from error


def _integer(block: bytes, start: int, mask: int) -> tuple[int, int]:
    """A prefixed integer of one or two bytes (RFC 7541, section 5.1) and where it ends."""
    value = block[start] & mask
    if value < mask:
        return value, start + 1
    more = block[start + 1]
    if more >= 0x80:
        raise _LeaveToHpackError
    return mask + more, start + 2


def _string(block: bytes, start: int) -> tuple[bytes, int]:
    coded = block[start] & 0x80
    size, start = _integer(block, start, 0x7F)
    stop = start + size
    if stop > len(block):
        raise _LeaveToHpackError
    text = block[start:stop]
    return (huffman.decode(text) if coded else text), stop
