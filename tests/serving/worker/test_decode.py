from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.errors import InvalidRequest, Unimplemented
from serving.spec import NUMPY_DTYPES, Signature, TensorSpec
from serving.tensors import to_raw
from serving.worker.decode import Decoder
from tests.serving.worker.requests import ROW, Request, request, rows, texts

TWO = Signature((TensorSpec("a", "FP32", (2,)), TensorSpec("b", "INT64", ())), (TensorSpec("y", "FP32", ()),))
OPEN = Signature((TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", ()),))
ALONE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), False)
TEXT = Signature((TensorSpec("t", "BYTES", ()),), (TensorSpec("y", "FP32", ()),))


def decoder(signature: Signature = ROW, most: int = 4, text: frozenset[str] = frozenset()) -> Decoder:
    return Decoder(signature, max_batch_rows=most, text_inputs=text)


def test_one_raw_row() -> None:
    """The raw bytes are taken as they are; rows and id are read."""
    decoded = decoder().decode(request({"x": rows(1)}, request_id="abc").SerializeToString())
    assert (decoded.rows, decoded.parts, decoded.shapes, decoded.outputs) == (1, (rows(1).tobytes(),), None, None)
    assert decoded.id_field == b"\x1a\x03abc"


def test_inputs_in_any_order() -> None:
    """Parts stand in the signature's order, whatever the request's."""
    arrays = {"b": np.array([5, 6]), "a": np.ones((2, 2), np.float32)}
    decoded = decoder(TWO).decode(request(arrays).SerializeToString())
    assert decoded.parts == (arrays["a"].tobytes(), arrays["b"].tobytes())
    assert decoded.rows == 2


@pytest.mark.parametrize("datatype", [name for name in NUMPY_DTYPES if name not in ("FP16", "BF16", "BYTES")])
def test_typed_contents_equal_raw_ones(datatype: str) -> None:
    """Every datatype that has typed contents gives the same part as its raw form."""
    signature = Signature((TensorSpec("x", datatype, (2,)),), ())
    array = np.array([[0, 1]], NUMPY_DTYPES[datatype])
    typed = Request()
    tensor = typed.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    kind = NUMPY_DTYPES[datatype].kind
    name = {"b": "bool_contents", "i": "int_contents", "u": "uint_contents", "f": "fp32_contents"}[kind]
    name = {"INT64": "int64_contents", "UINT64": "uint64_contents", "FP64": "fp64_contents"}.get(datatype, name)
    getattr(tensor.contents, name).extend(array.ravel().tolist())
    raw = request({"x": array})
    assert decoder(signature).decode(typed.SerializeToString()).parts == (array.tobytes(),)
    assert decoder(signature).decode(raw.SerializeToString()).parts == (array.tobytes(),)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_come_raw(datatype: str) -> None:
    """FP16 and BF16 travel as their bytes; typed contents for them are refused."""
    signature = Signature((TensorSpec("x", datatype, ()),), ())
    made = Request()
    made.inputs.add(name="x", datatype=datatype, shape=[2])
    made.raw_input_contents.append(b"\x00\x3c\x80\x3f")
    assert decoder(signature).decode(made.SerializeToString()).parts == (b"\x00\x3c\x80\x3f",)
    made.ClearField("raw_input_contents")
    made.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(InvalidRequest, match=rf"inputs\[0\].contents: {datatype} has no typed contents; send raw"):
        decoder(signature).decode(made.SerializeToString())


def test_texts_raw_and_typed() -> None:
    """BYTES become object arrays of bytes either way."""
    values = texts(b"a", b"", "ü".encode())
    raw = decoder(TEXT).decode(request({"t": values}).SerializeToString())
    typed = Request()
    typed.inputs.add(name="t", datatype="BYTES", shape=[3]).contents.bytes_contents.extend(values.tolist())
    for decoded in (raw, decoder(TEXT).decode(typed.SerializeToString())):
        (part,) = decoded.parts
        assert isinstance(part, np.ndarray)
        assert part.tolist() == values.tolist()
        assert decoded.rows == 3


def test_open_extents_are_told_apart() -> None:
    """Where the signature leaves an extent open, the request's own shape goes with it and decides its group."""
    two, three = (decoder(OPEN).decode(request({"x": rows(1, n)}).SerializeToString()) for n in (2, 3))
    assert (two.shapes, three.shapes) == (((2,),), ((3,),))


def test_empty_tensors_have_bounded_extents() -> None:
    """A tensor without elements takes no bytes, but its extents must still be possible."""
    made = request({"x": rows(2, 0)})
    assert decoder(OPEN).decode(made.SerializeToString()).shapes == ((0,),)
    signature = Signature((TensorSpec("x", "FP32", (-1, -1)),), ())
    made.inputs[0].shape[:] = [1, 0, 2**60]
    with pytest.raises(InvalidRequest, match=r"inputs\[0\].shape: shape \[1, 0, \d+\] is out of bounds"):
        decoder(signature).decode(made.SerializeToString())


def test_without_batch_the_shape_is_whole() -> None:
    """A model that is not batched has no rows, and no limit on its first extent."""
    decoded = decoder(ALONE, most=1).decode(request({"x": rows(9, 2)}).SerializeToString())
    assert (decoded.rows, decoded.shapes) == (1, ((9, 2),))


def _change(**fields: Any) -> Callable[[Request], None]:
    def change(made: Request) -> None:
        for name, value in fields.items():
            setattr(made.inputs[0], name, value)

    return change


def _shape(*extents: int) -> Callable[[Request], None]:
    def change(made: Request) -> None:
        made.inputs[0].shape[:] = extents

    return change


def _twice(made: Request) -> None:
    made.inputs.add().CopyFrom(made.inputs[0])
    made.raw_input_contents.append(made.raw_input_contents[0])


def _both(made: Request) -> None:
    made.inputs[0].contents.fp32_contents.extend([1, 2, 3])


def _short(made: Request) -> None:
    made.raw_input_contents[0] = made.raw_input_contents[0][:-1]


def _two_raws(made: Request) -> None:
    made.raw_input_contents.append(b"")


def _no_contents(made: Request) -> None:
    made.ClearField("raw_input_contents")


def _wrong_contents(made: Request) -> None:
    made.ClearField("raw_input_contents")
    made.inputs[0].contents.fp64_contents.extend([1, 2, 3])


def _shared_memory(made: Request) -> None:
    made.inputs[0].parameters["shared_memory_region"].string_param = "region"
    made.inputs[0].parameters["shared_memory_byte_size"].int64_param = 12


def _unknown_output(made: Request) -> None:
    made.outputs.add(name="z")


def _output_twice(made: Request) -> None:
    made.outputs.add(name="y")
    made.outputs.add(name="y")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_change(name="w"), r"inputs\[0\].name: the model has no input 'w'; its inputs are x FP32\[3\]"),
        (lambda made: made.ClearField("inputs"), r"inputs: missing x FP32\[3\]; send every input"),
        (_twice, r"inputs\[1\].name: input 'x' is sent twice"),
        (_change(datatype="FP64"), r"inputs\[0\].datatype: datatype 'FP64' for 'x', which is FP32; send FP32"),
        (_change(datatype="FLOAT"), r"inputs\[0\].datatype: unknown datatype 'FLOAT'"),
        (_shape(3), r"inputs\[0\].shape: shape \[3\] for 'x', which takes \[-1, 3\]; send 2 extents.*the rows"),
        (_shape(1, 4), r"inputs\[0\].shape: shape \[1, 4\] for 'x'"),
        (_shape(-1, 3), r"inputs\[0\].shape: shape \[-1, 3\] for 'x'"),
        (_shape(2, 3), r"raw_input_contents\[0\]: 12 bytes, but shape \[2, 3\] of FP32 needs 24; send row-major"),
        (_short, r"raw_input_contents\[0\]: 11 bytes"),
        (_two_raws, r"raw_input_contents: 2 raw contents for 1 inputs; send one for each input"),
        (_both, r"inputs\[0\].contents: typed contents and raw_input_contents are both set"),
        (_no_contents, r"inputs\[0\].contents: fp32_contents has 0 elements, shape \[1, 3\] needs 3"),
        (_wrong_contents, r"inputs\[0\].contents: fp64_contents set, but datatype is FP32; set fp32_contents only"),
        (_unknown_output, r"outputs\[0\].name: the model has no output 'z'; its outputs are y FP32\[2\]"),
        (_output_twice, r"outputs\[1\].name: output 'y' is asked for twice"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(change: Callable[[Request], None], text: str) -> None:
    """Each fault has a message of its own that names the field; the same decoder then takes a good request."""
    taker = decoder()
    for _ in range(2):  # before and after a good request has been seen
        made = request({"x": rows(1)})
        change(made)
        with pytest.raises(InvalidRequest, match=text):
            taker.decode(made.SerializeToString())
        assert taker.decode(request({"x": rows(1)}).SerializeToString()).rows == 1


def test_shared_memory_that_is_off() -> None:
    """A tensor in shared memory is refused as unimplemented, by field, where no router offers any."""
    made = request({"x": rows(1)})
    _shared_memory(made)
    with pytest.raises(Unimplemented, match=r"inputs\[0\].parameters.shared_memory_region: .*send the tensor itself"):
        decoder().decode(made.SerializeToString())


def test_missing_inputs_are_all_named() -> None:
    """With several inputs the message lists those that are not there."""
    with pytest.raises(InvalidRequest, match=r"inputs: missing b INT64\[\]; send every input"):
        decoder(TWO).decode(request({"a": rows(1, 2)}).SerializeToString())


def test_inputs_must_agree_on_the_rows() -> None:
    """Two inputs with different first extents cannot be one batch."""
    arrays = {"a": rows(2, 2), "b": np.array([1, 2, 3])}
    with pytest.raises(InvalidRequest, match=r"inputs\[1\].shape: 3 rows, but inputs\[0\] has 2"):
        decoder(TWO).decode(request(arrays).SerializeToString())


def test_rows_have_bounds() -> None:
    """No rows and too many are refused; the message names the setting that raises the limit."""
    taker = decoder(most=4)
    assert taker.decode(request({"x": rows(4)}).SerializeToString()).rows == 4
    with pytest.raises(
        InvalidRequest, match=r"inputs\[0\].shape: 5 rows, above batching.max_batch_rows = 4; send fewer"
    ):
        taker.decode(request({"x": rows(5)}).SerializeToString())
    with pytest.raises(InvalidRequest, match=r"inputs\[0\].shape: 0 rows; send at least one row"):
        taker.decode(request({"x": rows(0)}).SerializeToString())


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_request(message: bytes) -> None:
    """Malformed protobuf and names that are not UTF-8 are the caller's fault, not ours."""
    with pytest.raises(InvalidRequest, match="the message is not a ModelInferRequest, or a text in it is not UTF-8"):
        decoder().decode(message)


def test_truncated_texts_are_refused() -> None:
    """A BYTES tensor whose lengths do not add up is refused with how to encode it."""
    made = request({"t": texts(b"abc")})
    made.raw_input_contents[0] = made.raw_input_contents[0][:-1]
    with pytest.raises(InvalidRequest, match=r"raw_input_contents\[0\]: raw BYTES.*exactly 1 elements; send each"):
        decoder(TEXT).decode(made.SerializeToString())


def test_texts_must_be_utf8_where_the_model_needs_text() -> None:
    """A runtime that takes text gets none that is not; one that takes bytes gets anything."""
    made = request({"t": texts(b"fine", b"\xff")}).SerializeToString()
    assert decoder(TEXT).decode(made).rows == 2
    with pytest.raises(InvalidRequest, match=r"inputs\[0\]: row 1 of 't' is not UTF-8; encode texts"):
        decoder(TEXT, text=frozenset({"t"})).decode(made)


def test_nan_is_refused_where_model_yaml_says() -> None:
    """Row and column of the first NaN are named, also when the request takes the short cut."""
    signature = Signature((TensorSpec("x", "FP32", (3,), ("a", "b", "c"), (), False),), ())
    taker = decoder(signature)
    assert taker.decode(request({"x": rows(1)}).SerializeToString()).rows == 1
    for count in (1, 3):
        bad = rows(count)
        bad[-1, 1] = np.nan
        with pytest.raises(InvalidRequest, match=rf"NaN in row {count - 1}, column 'b' of 'x'; send a number, or set"):
            taker.decode(request({"x": bad}).SerializeToString())
    assert taker.decode(request({"x": rows(1)}).SerializeToString()).rows == 1


def test_wanted_outputs_are_places_in_the_signature() -> None:
    """Asking for all of them in order is the same as asking for none."""
    signature = Signature(ROW.inputs, (TensorSpec("y", "FP32", ()), TensorSpec("z", "FP32", ())))
    taker = decoder(signature)
    made = {
        names: taker.decode(request({"x": rows(1)}, outputs=names).SerializeToString()) for names in ("y", "zy", "yz")
    }
    assert made["yz"].outputs is None
    assert [output.index for output in made["y"].outputs or ()] == [0]
    assert [output.index for output in made["zy"].outputs or ()] == [1, 0]


def test_a_model_without_inputs() -> None:
    """Nothing has to be sent to a model that takes nothing."""
    assert decoder(Signature((), ROW.outputs, False)).decode(b"").parts == ()


def test_raw_strings_survive_a_round_trip() -> None:
    """The raw form of what was decoded is what was sent."""
    values = texts(b"", b"\x00\xff", b"x" * 300)
    (part,) = decoder(TEXT).decode(request({"t": values}).SerializeToString()).parts
    assert isinstance(part, np.ndarray)
    assert to_raw(part) == to_raw(values)
