"""HPACK's Huffman code (RFC 7541, appendix B), decoded a byte at a time over python-hyper's table.

hpack's own decoder takes a nibble at a time; joining two steps and remembering what came out halves the time, which
matters for values that differ in every request, such as trace ids. There are at most 256 x 256 joined steps; only
those that occur are kept.
"""

from typing import Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

# What a byte does in a state: next state, symbols that come out, whether the text may end here.
Step = tuple[int, bytes, bool]


class HuffmanError(ValueError):
    """The text is not Huffman-encoded as RFC 7541 section 5.2 asks."""


class _Steps(dict[int, Step]):
    """Steps by `state << 8 | byte`, worked out when first asked for."""

    def __missing__(self, key: int) -> Step:
        state, flags = key >> 8, 0
        symbols = bytearray()
        for nibble in (key >> 4 & 0xF, key & 0xF):
            state, flags, symbol = HUFFMAN_TABLE[state << 4 | nibble]
            if flags & HUFFMAN_FAIL:
                raise HuffmanError("invalid Huffman code")
            if flags & HUFFMAN_EMIT_SYMBOL:
                symbols.append(symbol)
        step = self[key] = (state, bytes(symbols), bool(flags & HUFFMAN_COMPLETE))
        return step


_STEPS: Final = _Steps()


def decode(text: bytes) -> bytes:
    """Raises HuffmanError."""
    out = bytearray()
    state = 0
    complete = True
    for byte in text:
        state, symbols, complete = _STEPS[state << 8 | byte]
        out += symbols
    if not complete:
        raise HuffmanError("Huffman code ends amid a symbol")
    return bytes(out)
