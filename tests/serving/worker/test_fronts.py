import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.errors import DodonaError
from serving.spec import Signature, TensorSpec
from serving.worker.decode import Decoder
from serving.worker.fronts import Fronts
from serving.worker.request import DecodedRequest
from tests.serving.worker.requests import ROW, Request, request, rows

PAIR = Signature((TensorSpec("a", "FP32", (2,)), TensorSpec("b", "FP32", (2,))), ())


def said(taker: Decoder, message: bytes) -> object:
    """What a decoder makes of a message, in a form that compares."""
    try:
        decoded = taker.decode(message)
    except DodonaError as error:
        return str(error)
    return decoded.rows, decoded.parts, decoded.shapes, decoded.id_field, decoded.outputs


def fresh(signature: Signature) -> Decoder:
    return Decoder(signature, max_batch_rows=4)


def known(signature: Signature, *messages: bytes) -> Fronts:
    fronts = Fronts(signature)
    for message in messages:
        fronts.keep(message, fresh(signature).decode(message))
    return fronts


def test_another_row_and_another_id_take_the_short_cut() -> None:
    """Only the id and the tensors' bytes differ: the front is known, both are read from the new message."""
    fronts = known(ROW, request({"x": rows(1)}, request_id="first").SerializeToString())
    for request_id in ("", "second"):
        message = request({"x": rows(1, start=7)}, request_id=request_id).SerializeToString()
        found = fronts.find(message)
        assert found is not None
        assert (found.parts, found.rows) == ((rows(1, start=7).tobytes(),), 1)
        assert found.id_field == (b"\x1a\x06second" if request_id else b"")


@pytest.mark.parametrize(
    "other",
    [
        request({"x": rows(2)}),
        request({"x": rows(1)}, outputs=["y"]),
        request({"x": rows(1)}, request_id="n\u00e4chste"),
        request({"x": rows(1)}, request_id="x" * 200),
        Request(model_name="other"),
        Request(),
    ],
)
def test_other_fronts_are_not_known(other: Request) -> None:
    """More rows, chosen outputs, ids that need a check, other models: all go the long way."""
    fronts = known(ROW, request({"x": rows(1)}).SerializeToString())
    assert fronts.find(other.SerializeToString()) is None


def test_inputs_in_another_order_are_not_kept() -> None:
    """Equal bytes in swapped inputs must not teach a wrong order."""
    arrays = {"b": np.zeros((1, 2), np.float32), "a": np.zeros((1, 2), np.float32)}
    message = request(arrays).SerializeToString()
    assert known(PAIR, message).find(message) is None


def test_typed_contents_are_not_kept() -> None:
    """A front that already holds its values is a whole request and no front."""
    made = Request(model_name="m")
    made.inputs.add(name="x", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    message = made.SerializeToString()
    assert known(ROW, message).find(message) is None


def test_long_fronts_are_not_kept() -> None:
    """What is remembered is bounded in size; a long model name is simply read each time."""
    made = request({"x": rows(1)})
    made.parameters["note"].string_param = "x" * 2000
    message = made.SerializeToString()
    assert known(ROW, message).find(message) is None


def test_the_number_of_fronts_is_bounded() -> None:
    """Ever new fronts push the old ones out instead of filling the memory."""
    fronts = Fronts(ROW)
    decoded = DecodedRequest(rows=1, parts=(), shapes=None, id_field=b"", outputs=None)
    for number in range(1000):
        made = request({"x": rows(1)})
        made.parameters["n"].int64_param = number
        fronts.keep(made.SerializeToString(), decoded)
    assert len(fronts._fronts) <= 256


MESSAGES = [
    request({"x": rows(1)}).SerializeToString(),
    request({"x": rows(1, start=3)}, request_id="id").SerializeToString(),
    request({"x": rows(1)}, outputs=["y"]).SerializeToString(),
    request({"x": rows(2)}, request_id="id").SerializeToString(),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES), st.integers(0, 120), st.integers(0, 255), st.booleans())
@example(MESSAGES[1], 0, 0x1A, False)
def test_the_short_cut_never_changes_an_answer(message: bytes, place: int, byte: int, cut: bool) -> None:
    """Any damage to a message is answered alike by a decoder that knows the front and one that does not."""
    damaged = message[: place % len(message)]
    if not cut:
        damaged += bytes([byte]) + message[place % len(message) + 1 :]
    taught = fresh(ROW)
    for taught_message in MESSAGES:
        taught.decode(taught_message)
    assert said(taught, damaged) == said(fresh(ROW), damaged)
    assert said(taught, message) == said(fresh(ROW), message)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_answered_alike(message: bytes) -> None:
    """Nor does it change what is said of bytes that are no request at all."""
    taught = fresh(ROW)
    taught.decode(MESSAGES[0])
    assert said(taught, message) == said(fresh(ROW), message)
