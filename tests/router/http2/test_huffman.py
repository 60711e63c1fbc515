"""The Huffman decoder against python-hyper's."""

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http2 import huffman

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=60))
def test_text_comes_back(text: bytes) -> None:
    """Whatever the encoder writes is read back."""
    assert huffman.decode(ENCODER.encode(text)) == text


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=12))
def test_any_bytes_read_as_hpack_reads_them(coded: bytes) -> None:
    """Arbitrary bytes give what python-hyper gives, or are refused by both."""
    try:
        expected = decode_huffman(coded)
    except HPACKDecodingError:
        with pytest.raises(huffman.HuffmanError):
            huffman.decode(coded)
    else:
        assert huffman.decode(coded) == expected
