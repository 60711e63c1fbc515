from typing import Any

import numpy as np
import pytest

from protos import inference_pb2
from serving.errors import ModelFailed
from serving.spec import NUMPY_DTYPES, ModelSpec, Signature, TensorSpec
from serving.tensors import to_raw
from serving.worker.encode import Encoder
from serving.worker.request import DecodedRequest, WantedOutput
from tests.serving.worker.requests import parse, texts

SPEC = ModelSpec("m", "7")


def asked(rows: int = 1, *outputs: WantedOutput, id_field: bytes = b"") -> DecodedRequest:
    return DecodedRequest(rows=rows, parts=(), shapes=None, id_field=id_field, outputs=outputs or None)


def signature(*outputs: TensorSpec, batched: bool = True) -> Signature:
    return Signature((), outputs, batched)


def by_protobuf(request_id: str, *outputs: tuple[str, str, tuple[int, ...], Any]) -> inference_pb2.ModelInferResponse:
    made = inference_pb2.ModelInferResponse(model_name="m", model_version="7", id=request_id)
    for name, datatype, shape, array in outputs:
        made.outputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_output_contents.append(to_raw(array))
    return made


@pytest.mark.parametrize("datatype", [name for name in NUMPY_DTYPES if name != "BYTES"])
@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (3, 1, 2)])
def test_every_datatype_as_protobuf_would_write_it(datatype: str, sizes: tuple[int, ...]) -> None:
    """Each request of a batch gets its own rows, in bytes that protobuf would have written."""
    total = sum(sizes)
    array = np.arange(total * 2).reshape(total, 2).astype(NUMPY_DTYPES[datatype])
    encoder = Encoder(SPEC, signature(TensorSpec("y", datatype, (2,))))
    requests = [asked(rows, id_field=b"\x1a\x01%d" % index) for index, rows in enumerate(sizes)]
    start = 0
    for index, response in enumerate(encoder.encode(requests, {"y": array})):
        part = array[start : start + sizes[index]]
        start += sizes[index]
        expected = by_protobuf(str(index), ("y", datatype, part.shape, part))
        assert response == expected.SerializeToString()


def test_several_outputs_with_open_extents() -> None:
    """Extents the signature leaves open are told as they are; large raws have longer heads."""
    encoder = Encoder(SPEC, signature(TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "INT64", ())))
    for width in (1, 300, 2):
        outputs = {"a": np.ones((3, width), np.float32), "b": np.arange(3)}
        responses = encoder.encode([asked(1), asked(2)], outputs)
        assert parse(responses[0]) == by_protobuf(
            "", ("a", "FP32", (1, width), np.ones((1, width), np.float32)), ("b", "INT64", (1,), np.array([0]))
        )
        assert parse(responses[1]) == by_protobuf(
            "", ("a", "FP32", (2, width), np.ones((2, width), np.float32)), ("b", "INT64", (2,), np.array([1, 2]))
        )


def test_texts_are_split_by_row() -> None:
    """BYTES outputs, as bytes or as str, keep their elements."""
    encoder = Encoder(SPEC, signature(TensorSpec("t", "BYTES", ())))
    for given in (texts(b"a", "ü".encode()), np.array(["a", "ü"])):
        one, two = encoder.encode([asked(), asked()], {"t": given})
        assert parse(one) == by_protobuf("", ("t", "BYTES", (1,), texts(b"a")))
        assert parse(two) == by_protobuf("", ("t", "BYTES", (1,), texts("ü".encode())))


def test_chosen_outputs_in_the_callers_order() -> None:
    """Only what was asked for is sent, as it was asked for; neighbours in the batch are untouched."""
    encoder = Encoder(
        SPEC, signature(TensorSpec("a", "FP32", ()), TensorSpec("b", "FP32", ()), TensorSpec("c", "FP32", ()))
    )
    arrays = {name: np.array([value, value + 1], np.float32) for value, name in enumerate("abc")}
    chosen, everything = encoder.encode([asked(1, WantedOutput(2), WantedOutput(0)), asked(1)], arrays)
    assert [output.name for output in parse(chosen).outputs] == ["c", "a"]
    assert parse(chosen).raw_output_contents[0] == np.float32(2).tobytes()
    assert [output.name for output in parse(everything).outputs] == ["a", "b", "c"]
    assert parse(everything).raw_output_contents[2] == np.float32(3).tobytes()


def test_classes_instead_of_values() -> None:
    """The classification extension answers value:index:label texts, best first."""
    encoder = Encoder(SPEC, signature(TensorSpec("p", "FP32", (3,), labels=("no", "maybe", "yes"))))
    values = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], np.float32)
    (response,) = encoder.encode([asked(2, WantedOutput(0, 2))], {"p": values})
    expected = np.array([[b"0.700000:2:yes", b"0.200000:1:maybe"], [b"0.500000:0:no", b"0.250000:1:maybe"]], object)
    assert parse(response) == by_protobuf("", ("p", "BYTES", (2, 2), expected))


def test_classes_without_a_batch() -> None:
    """A model that is not batched answers its classes without a row dimension."""
    encoder = Encoder(SPEC, signature(TensorSpec("p", "INT32", (2,)), batched=False))
    (response,) = encoder.encode([asked(1, WantedOutput(0, 5))], {"p": np.array([3, 4], np.int32)})
    assert parse(response) == by_protobuf("", ("p", "BYTES", (2,), texts(b"4:1", b"3:0")))


def test_without_a_batch_the_whole_shape_is_sent() -> None:
    """A scalar and a matrix keep their shapes."""
    encoder = Encoder(SPEC, signature(TensorSpec("s", "FP64", ()), TensorSpec("m", "FP64", (-1, 2)), batched=False))
    outputs = {"s": np.array(2.5), "m": np.ones((3, 2))}
    (response,) = encoder.encode([asked()], outputs)
    assert parse(response) == by_protobuf("", ("s", "FP64", (), outputs["s"]), ("m", "FP64", (3, 2), outputs["m"]))


def test_close_datatypes_are_cast() -> None:
    """A model that computes in doubles may announce floats; order and layout are put right."""
    encoder = Encoder(SPEC, signature(TensorSpec("y", "FP32", (2,))))
    given = np.asfortranarray(np.array([[1, 2], [3, 4]], ">f8"))
    (response,) = encoder.encode([asked(2)], {"y": given})
    assert parse(response) == by_protobuf("", ("y", "FP32", (2, 2), np.array([[1, 2], [3, 4]], np.float32)))


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "the model gave no output 'y', only none; return every output"),
        ({"z": np.ones((2, 2))}, "the model gave no output 'y', only z"),
        ({"y": np.array([["a", "b"], ["c", "d"]])}, "output 'y' is <U1, announced is FP32"),
        ({"y": np.ones((2, 2), complex)}, "output 'y' is complex128, announced is FP32"),
        ({"y": np.ones((2, 3), np.float32)}, r"output 'y' has shape \[2, 3\], announced is \[-1, 2\]"),
        ({"y": np.ones(2, np.float32)}, r"output 'y' has shape \[2\], announced is \[-1, 2\]"),
    ],
)
def test_outputs_unlike_the_announced_fail(outputs: dict[str, Any], text: str) -> None:
    """What the model gave and what was announced stand in the message."""
    with pytest.raises(ModelFailed, match=text):
        Encoder(SPEC, signature(TensorSpec("y", "FP32", (2,)))).encode([asked(2)], outputs)


def test_numbers_cannot_pass_for_texts() -> None:
    """An output announced as BYTES must hold texts."""
    with pytest.raises(ModelFailed, match="output 'y' is float64, announced is BYTES"):
        Encoder(SPEC, signature(TensorSpec("y", "BYTES", ()))).encode([asked()], {"y": np.ones(1)})


@pytest.mark.parametrize(("array", "count"), [(np.ones((3, 2)), "3"), (np.ones((0, 2)), "0"), (np.array(1.0), "no")])
def test_a_wrong_number_of_rows_fails_the_batch(array: Any, count: str) -> None:
    """Rows that cannot be told apart are nobody's answer."""
    encoder = Encoder(SPEC, signature(TensorSpec("y", "FP64", (2,))))
    with pytest.raises(ModelFailed, match=f"output 'y' has {count} rows for 2 rows of input; return one row per"):
        encoder.encode([asked(), asked()], {"y": array})


def test_templates_are_bounded() -> None:
    """A caller who asks for ever new combinations does not fill the memory."""
    encoder = Encoder(SPEC, signature(TensorSpec("p", "FP32", (3,))))
    for count in range(5000):
        encoder.encode([asked(1, WantedOutput(0, count + 1))], {"p": np.ones((1, 3), np.float32)})
    assert len(encoder._templates) <= 4096
