"""Which requests are identical, and which replicas answer alike."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2
from router.policy.sharing import SMALL_BYTES, LongKey, SharingTerms, agreed, essence, front_of, key_of

TERMS = SharingTerms(collapse=True, keep=True, content="c1")


def long_request(raw: bytes, **parameters: str) -> bytes:
    message = inference_pb2.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="x", datatype="UINT8", shape=[len(raw)])
    for name, text in parameters.items():
        tensor.parameters[name].string_param = text
    message.raw_input_contents.append(raw)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], None),
        ([TERMS], TERMS),
        ([TERMS, TERMS], TERMS),
        ([TERMS, replace(TERMS, content="c2")], None),
        ([TERMS, SharingTerms()], None),
        ([replace(TERMS, content="")], None),
        ([replace(TERMS, collapse=False, keep=False)], None),
        ([replace(TERMS, keep=False)], replace(TERMS, keep=False)),
    ],
)
def test_only_replicas_of_known_and_equal_content_share(
    terms: list[SharingTerms], expected: SharingTerms | None
) -> None:
    """One that differs, or that does not say what it serves, ends all sharing of its version."""
    assert agreed(terms) == expected


def test_short_request_is_its_own_key() -> None:
    """No hash stands between two requests: the key is the bytes."""
    assert key_of(b"headrest", 4) == b"rest"


def test_long_request_is_compared_in_full() -> None:
    """Requests that agree in every byte that is sampled are still two."""
    raw = bytearray(10 * SMALL_BYTES)
    first = key_of(long_request(bytes(raw)), 3)
    raw[-2] = 1
    raw[7777] = 1
    others = [key_of(long_request(bytes(raw)), 3)]
    for place in range(5001, 5030):
        changed = bytearray(10 * SMALL_BYTES)
        changed[place] = 1
        others.append(key_of(long_request(bytes(changed)), 3))
    assert len({first, *others}) == 31
    assert first == key_of(long_request(bytes(10 * SMALL_BYTES)), 3)
    assert hash(first) == hash(key_of(long_request(bytes(10 * SMALL_BYTES)), 3))


def test_long_keys_differ_from_short_ones() -> None:
    """They meet in one table."""
    message = bytes(2 * SMALL_BYTES)
    assert LongKey(message, 0) != message


@given(st.binary(min_size=1, max_size=50), st.integers(0, 40), st.integers(0, 40))
def test_long_key_does_not_see_what_stands_before_it(piece: bytes, one: int, other: int) -> None:
    """Whatever name, version and id a request began with, the rest decides."""
    raw = piece * (SMALL_BYTES + 1)
    assert LongKey(bytes(one) + raw, one) == LongKey(b"x" * other + raw, other)
    assert hash(LongKey(bytes(one) + raw, one)) == hash(LongKey(b"x" * other + raw, other))
    assert LongKey(bytes(one) + raw, one) != LongKey(b"x" * other + raw + b"y", other)


def test_tensors_in_shared_memory_equal_nothing() -> None:
    """Their content is not in the message, whatever its size and wherever the message says so."""
    for size in (10, SMALL_BYTES, 3 * SMALL_BYTES):
        assert key_of(long_request(bytes(size), shared_memory_region="r"), 3) is None
        assert key_of(long_request(bytes(size), other="r"), 3) is not None
    request = inference_pb2.ModelInferRequest(raw_input_contents=[bytes(3 * SMALL_BYTES)])
    output = request.outputs.add(name="y")
    output.parameters["shared_memory_region"].string_param = "r"
    assert key_of(request.SerializeToString(), 0) is None
    reordered = (
        inference_pb2.ModelInferRequest(raw_input_contents=[bytes(3 * SMALL_BYTES)]).SerializeToString()
        + inference_pb2.ModelInferRequest(outputs=[output]).SerializeToString()
    )
    assert key_of(reordered, 0) is None


def test_the_words_in_a_tensor_do_not_count() -> None:
    """A large tensor may hold any bytes."""
    assert key_of(long_request(b"shared_memory_region" * SMALL_BYTES), 3) is not None


def test_fields_of_other_kinds_hide_nothing() -> None:
    """A field that protobuf has and the protocol does not use is searched with all that follows it."""
    number = bytes((99 << 3 & 0x7F | 0x80, 99 << 3 >> 7, 5))
    assert key_of(number + long_request(bytes(3 * SMALL_BYTES), shared_memory_region="r"), 0) is None
    assert key_of(number + long_request(bytes(3 * SMALL_BYTES)), 0) is not None


def test_essence_drops_whole_fields_and_keeps_the_rest_as_it_came() -> None:
    """Fields of every kind are told apart; behind a group, whose end only a parser knows, nothing is."""
    number, eight, four, text = b"\x98\x06\x96\x01", b"\x99\x06" + bytes(8), b"\x9d\x06" + bytes(4), b"\x0a\x01m"
    group = b"\x9b\x06\x9c\x06"
    assert essence(text + number + eight + text + four, lambda field, _: field == 1) == number + eight + four
    assert essence(number + group + text, lambda field, _: field == 1) is None
    assert key_of(group + long_request(bytes(3 * SMALL_BYTES), shared_memory_region="r"), 0) is None


_NAMES = st.sampled_from(["timeout", "priority", "tenant", "cache", "p", "q"])
_REQUESTS = st.builds(
    lambda name, identity, parameters, raws: (name, identity, parameters, raws),
    st.sampled_from(["", "m", "model"]),
    st.sampled_from(["", "a", "id" * 70]),
    st.dictionaries(_NAMES, st.integers(0, 3)),
    st.lists(st.binary(max_size=5), max_size=3),
)


def _written(name: str, identity: str, parameters: dict[str, int], raws: list[bytes]) -> bytes:
    message = inference_pb2.ModelInferRequest(model_name=name, id=identity, raw_input_contents=raws)
    for key, value in parameters.items():
        message.parameters[key].int64_param = value
    return message.SerializeToString()


@given(_REQUESTS)
def test_essence_parses_to_the_request_without_what_was_dropped(
    request: tuple[str, str, dict[str, int], list[bytes]],
) -> None:
    """Cutting fields out of the bytes is clearing them in the message."""
    name, identity, parameters, raws = request
    rest = essence(_written(name, identity, parameters, raws), lambda number, _: number in (1, 3))
    assert rest is not None
    assert inference_pb2.ModelInferRequest.FromString(rest) == inference_pb2.ModelInferRequest.FromString(
        _written("", "", parameters, raws)
    )


def test_front_ends_where_the_only_tensor_begins() -> None:
    """Requests that begin with it and are as long differ in that tensor alone."""
    message = long_request(b"abc")
    assert front_of(message, 3) == message[3:-3]
    two = inference_pb2.ModelInferRequest(raw_input_contents=[b"abc", b"de"]).SerializeToString()
    behind = inference_pb2.ModelInferRequest(raw_input_contents=[b"abc"]).SerializeToString() + b"\x2a\x00"
    assert [front_of(other, 0) for other in (two, behind, b"", b"\x0a\x01m")] == [b""] * 4
