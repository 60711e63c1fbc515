from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2, routing_pb2
from serving.wire import field_bytes, head, varint, without_tail


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


@given(st.text(max_size=200), st.lists(st.binary(max_size=300), max_size=3), st.integers(0, 2**40))
def test_what_is_left_without_large_values(name: str, raws: list[bytes], extent: int) -> None:
    """All of a request but its raw contents, if it has any."""
    made = inference_pb2.ModelInferRequest(model_name=name, id="7")
    made.inputs.add(name="x", shape=[extent])
    made.parameters["p"].double_param = 0.5
    front = made.SerializeToString()
    made.raw_input_contents.extend(raws)
    assert without_tail(made.SerializeToString(), 7) == front


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"\x3a\x00", b"\x3a\x02ab", b"\x0a\x01m", b"\x3a\x80\x01"])))
def test_nothing_wrong_is_hidden_by_leaving_values_out(parts: list[bytes]) -> None:
    """Whatever the bytes, they are refused with the values at their end or without, or mean the same."""
    message = b"".join(parts)

    def parsed(text: bytes) -> tuple[str, str, int] | None:
        try:
            request = routing_pb2.Request.FromString(text)
        except DecodeError:
            return None
        return request.model_name, request.model_version, len(request.inputs)

    assert parsed(without_tail(message, 7)) == parsed(message)
