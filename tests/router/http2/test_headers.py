"""HPACK reading: the fast loop and its cache against python-hyper's decoder."""

import hpack
import pytest
from hpack.exceptions import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http2.errors import ErrorCode, RemoteError
from router.http2.headers import BlockReader
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from tests.router.http2.wire import METHODS, UNARY, headers

NAMES = st.sampled_from(["x-a", "x-b", "traceparent", "grpc-timeout", ":path", "content-type", "x-" + "n" * 200])
VALUES = st.one_of(
    st.sampled_from(["", "1", "5S", "application/grpc", "/a/Unary"]),
    st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=40),
    st.just("v" * 300),
)
# A list of headers, each with "may be indexed", and perhaps a change of the encoder's table size before it.
BLOCKS = st.lists(
    st.tuples(
        st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8), st.sampled_from([None, None, None, 0, 100, 4096])
    ),
    min_size=1,
    max_size=12,
)


def reader(limits: Http2Limits | None = None) -> BlockReader:
    limits = limits or Http2Limits()
    return BlockReader(HeadReader(METHODS, limits), limits)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(BLOCKS, st.booleans())
def test_blocks_read_as_hpack_reads_them(
    blocks: list[tuple[list[tuple[str, str, bool]], int | None]], huffman: bool
) -> None:
    """Any sequence of blocks, with table changes and evictions, gives python-hyper's fields and table."""
    encoder, theirs, ours = hpack.Encoder(), hpack.Decoder(), reader()
    for fields, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode([(name, value, not indexed) for name, value, indexed in fields], huffman=huffman)
        assert ours.trailers(block) == [tuple(field) for field in theirs.decode(block, raw=True)]
        assert ours._table.dynamic_entries == theirs.header_table.dynamic_entries


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_garbage_is_refused_as_hpack_refuses_it(blocks: list[bytes]) -> None:
    """Arbitrary bytes give python-hyper's fields, or COMPRESSION_ERROR where it raises."""
    theirs, ours = hpack.Decoder(), reader()
    for block in blocks:
        try:
            expected = [tuple(field) for field in theirs.decode(block, raw=True)]
        except (HPACKError, IndexError):
            with pytest.raises(RemoteError) as error:
                ours.trailers(block)
            assert error.value.code is ErrorCode.COMPRESSION_ERROR
            return
        assert ours.trailers(block) == expected


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_cached_heads_are_never_stale(requests: list[tuple[int, bool, bool]]) -> None:
    """Requests that repeat, vary and evict each other's table entries always give the head that was sent."""
    encoder, ours = hpack.Encoder(), reader()
    encoder.header_table_size = 200
    for value, indexed, long in requests:
        text = str(value) * (60 if long else 1)
        fields = [(name, text_, False) for name, text_ in headers()] + [("x-value", text, not indexed)]
        head = ours.request(encoder.encode(fields))
        assert head.path == UNARY
        assert dict(head.metadata)["x-value"] == text


def test_a_repeated_block_is_read_once() -> None:
    """The second of two equal blocks that leave the table alone is the very same head."""
    encoder, ours = hpack.Encoder(), reader()
    first = ours.request(encoder.encode(headers()))  # fills the table, so it may not be kept
    block = encoder.encode(headers())
    second = ours.request(block)
    assert second is ours.request(block)
    assert first.path == second.path == UNARY


def test_a_block_means_something_else_once_the_table_has_changed() -> None:
    """Cached bytes are read anew after another field has taken their place in the table."""
    encoder, ours = hpack.Encoder(), reader()
    opening = encoder.encode([(*field, True) for field in headers()])  # leaves the table alone
    newest = b"\xbe"  # the field that was added last
    ours.trailers(encoder.encode([("x-value", "first")]))
    assert [dict(ours.request(opening + newest).metadata) for _ in range(2)] == [{"x-value": "first"}] * 2
    ours.trailers(encoder.encode([("x-value", "second")]))
    assert dict(ours.request(opening + newest).metadata) == {"x-value": "second"}


def test_a_list_above_the_limit_is_refused_but_keeps_the_table_right() -> None:
    """The request is refused by name of the setting; the next one on the connection reads well."""
    encoder, ours = hpack.Encoder(), reader(Http2Limits(max_header_bytes=1000))
    head = ours.request(encoder.encode([*headers(), ("x-large", "x" * 900), ("x-small", "1")]))
    assert head.refusal is not None
    assert b"router.limits.max_header_bytes" in head.refusal.block
    fine = ours.request(encoder.encode([*headers(), ("x-small", "1")]))
    assert fine.refusal is None
    assert ("x-small", "1") in fine.metadata


def test_many_different_blocks_do_not_pile_up() -> None:
    """The cache holds no more heads than the limit says."""
    limits = Http2Limits(head_cache_entries=4)
    encoder, ours = hpack.Encoder(), reader(limits)
    for number in range(20):
        ours.request(encoder.encode([(*field, True) for field in [*headers(), ("x-n", str(number))]]))
        assert len(ours.heads) <= 4


def test_a_table_size_update_amid_a_block_is_refused() -> None:
    """RFC 7541 allows it only in front."""
    with pytest.raises(RemoteError) as error:
        reader().trailers(b"\x82\x20")
    assert error.value.code is ErrorCode.COMPRESSION_ERROR
