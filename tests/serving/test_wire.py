from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2
from serving.wire import field_bytes, head, varint


@given(st.integers(0, 2**63 - 1))
def test_varints_are_protobufs(number: int) -> None:
    """A varint reads back as the number it was made from."""
    message = inference_pb2.InferParameter.FromString(b"\x10" + varint(number))
    assert message.int64_param == number


@given(st.binary(max_size=400))
def test_fields_are_protobufs(payload: bytes) -> None:
    """A field written by hand equals protobuf's, and an empty one is left out as proto3 does."""
    made = inference_pb2.InferTensorContents(bytes_contents=[payload])
    assert head(8, len(payload)) + payload == made.SerializeToString()
    assert field_bytes(8, payload) == (made.SerializeToString() if payload else b"")
