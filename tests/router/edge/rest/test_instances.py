from typing import Any

import numpy as np
import pytest

from router.edge.rest.instances import Tensor, tensors_of
from serving.errors import InvalidRequest
from serving.spec import NUMPY_DTYPES, Signature, TensorSpec

VECTOR = Signature((TensorSpec("x", "FP32", (3,)),), ())
PEOPLE = Signature((TensorSpec("row", "FP32", (3,), columns=("age", "height", "weight")),), ())
MIXED = Signature(
    (TensorSpec("id", "INT64", (1,)), TensorSpec("name", "BYTES", ()), TensorSpec("v", "FP32", (-1,))), ()
)
IMAGE = Signature((TensorSpec("image", "BYTES", ()),), ())


def values(tensor: Tensor) -> Any:
    """The tensor as nested lists, raw for BYTES."""
    if tensor.datatype == "BYTES":
        return tensor.raw
    return np.frombuffer(tensor.raw, NUMPY_DTYPES[tensor.datatype]).reshape(tensor.shape).tolist()


def rows(signature: Signature, *instances: object) -> list[Tensor]:
    tensors, columnar = tensors_of({"instances": list(instances)}, signature)
    assert not columnar
    return tensors


def columns(signature: Signature, inputs: object) -> list[Tensor]:
    tensors, columnar = tensors_of({"inputs": inputs}, signature)
    assert columnar
    return tensors


def test_lists_are_rows_of_the_single_input() -> None:
    """One list a row; null is NaN."""
    (tensor,) = rows(VECTOR, [1, 2, 3], [4, 5, 6])
    assert (tensor.name, tensor.shape) == ("x", [2, 3])
    assert values(tensor) == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(values(rows(VECTOR, [1, None, 3])[0])[0][1])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_scalars_are_rows_of_one_element(shape: tuple[int, ...]) -> None:
    """[1, 2, 3] is three rows where a row has one element."""
    (tensor,) = rows(Signature((TensorSpec("x", "INT32", shape),), ()), 1, 2, 3)
    assert tensor.shape == [3, *shape]


def test_unknown_extents_follow_from_the_rows() -> None:
    """Flat where one extent is open, nested where several are."""
    (tensor,) = rows(Signature((TensorSpec("x", "FP32", (2, -1)),), ()), [1, 2, 3, 4, 5, 6])
    assert tensor.shape == [1, 2, 3]
    (tensor,) = rows(Signature((TensorSpec("x", "FP32", (-1, -1)),), ()), [[1, 2], [3, 4], [5, 6]])
    assert tensor.shape == [1, 3, 2]


def test_records_name_inputs() -> None:
    """In any order; the tensors come in the signature's."""
    tensors = rows(MIXED, {"v": [1, 2], "name": "a", "id": 7}, {"id": [8], "name": "b", "v": [3, 4]})
    assert [(tensor.name, tensor.shape) for tensor in tensors] == [("id", [2, 1]), ("name", [2]), ("v", [2, 2])]
    assert values(tensors[0]) == [[7], [8]]
    assert values(tensors[1]) == b"\x01\0\0\0a\x01\0\0\0b"


def test_records_name_columns() -> None:
    """The elements of one tensor have names of their own; the tensor's name still works."""
    (tensor,) = rows(PEOPLE, {"height": 2, "age": 1, "weight": 3}, {"age": None, "height": 5, "weight": 6})
    assert tensor.shape == [2, 3]
    assert values(tensor)[0] == [1, 2, 3]
    assert np.isnan(values(tensor)[1][0])
    assert values(rows(PEOPLE, {"row": [1, 2, 3]})[0]) == [[1, 2, 3]]
    assert values(rows(PEOPLE, [1, 2, 3])[0]) == [[1, 2, 3]]


def test_base64_is_a_value_and_no_record() -> None:
    """As TensorFlow Serving has it, in both forms."""
    assert rows(IMAGE, {"b64": "/w=="})[0].raw == b"\x01\0\0\0\xff"
    assert rows(IMAGE, {"image": {"b64": "/w=="}})[0].raw == b"\x01\0\0\0\xff"
    assert columns(IMAGE, [{"b64": "/w=="}])[0].raw == b"\x01\0\0\0\xff"


def test_columns_are_whole_tensors() -> None:
    """Bare for a single input, by name for several, and column by column where the elements have names."""
    assert values(columns(VECTOR, [[1, 2, 3]])[0]) == [[1, 2, 3]]
    assert columns(VECTOR, [1, 2, 3, 4, 5, 6])[0].shape == [2, 3]
    assert [tensor.shape for tensor in columns(MIXED, {"id": [7, 8], "name": ["a", "b"], "v": [[1], [2]]})] == [
        [2, 1],
        [2],
        [2, 1],
    ]
    assert values(columns(PEOPLE, {"age": [1, 4], "height": [2, 5], "weight": [3, 6]})[0]) == [[1, 2, 3], [4, 5, 6]]


def test_model_without_batches_takes_its_own_shape() -> None:
    """Rows are its first extent."""
    signature = Signature((TensorSpec("x", "FP32", (2, 2)),), (), batched=False)
    assert rows(signature, [1, 2], [3, 4])[0].shape == [2, 2]
    assert columns(signature, [[1, 2], [3, 4]])[0].shape == [2, 2]
    scalar = Signature((TensorSpec("x", "FP32", ()),), (), batched=False)
    assert columns(scalar, 5)[0].shape == []
    with pytest.raises(InvalidRequest, match=r'send \{"inputs"'):
        rows(scalar, 5)


@pytest.mark.parametrize(
    ("signature", "document", "message"),
    [
        (VECTOR, [], "body: must be a JSON object"),
        (VECTOR, {}, "body: must have exactly one of instances and inputs"),
        (VECTOR, {"instances": [], "inputs": []}, "exactly one"),
        (VECTOR, {"instances": []}, "instances: must be a list of at least one row"),
        (VECTOR, {"instances": {}}, "instances: must be a list"),
        (VECTOR, {"instances": [[1, 2, 3]], "signature_name": "other"}, "signature_name: unknown signature 'other'"),
        (VECTOR, {"instances": [[1, 2, 3], [1, 2]]}, r"instances\[1\]: has 2 elements"),
        (VECTOR, {"instances": [[1, 2, 3], [1, "a", 3]]}, r"instances\[1\]\[1\]: 'a' is not FP32"),
        (VECTOR, {"instances": [[1, 2, 3], {"x": [1, 2, 3]}]}, r"instances\[1\]"),
        (PEOPLE, {"instances": [{"age": 1, "height": 2, "weight": 3}, 5]}, r"instances\[1\]: must be an object"),
        (PEOPLE, {"instances": [{"age": 1, "weight": 3}]}, r"instances\[0\].height: is missing"),
        (
            PEOPLE,
            {"instances": [{"age": 1, "height": 2, "weight": 3}] * 3 + [{"height": 2, "weight": 3}]},
            r"instances\[3\].age: is missing",
        ),
        (
            PEOPLE,
            {"instances": [{"agee": 1, "height": 2, "weight": 3}]},
            r"instances\[0\].agee: unknown feature; did you mean 'age'\?",
        ),
        (
            PEOPLE,
            {"instances": [{"age": 1, "height": 2, "weight": 3, "zodiac": 4}]},
            r"instances\[0\].zodiac: unknown feature; known: age",
        ),
        (PEOPLE, {"instances": [{"age": 1, "height": "tall", "weight": 3}]}, r"instances\[0\].height: 'tall' is not"),
        (MIXED, {"instances": [[1]]}, r"instances\[0\]: must name its values, the model has 3 inputs"),
        (MIXED, {"instances": [{"id": None, "name": "a", "v": [1]}]}, r"instances\[0\].id: null is not INT64"),
        (MIXED, {"instances": [{"id": 1, "name": "a", "v": [1, [2]]}]}, r"instances\[0\].v"),
        (MIXED, {"inputs": [1]}, "inputs: must name its values"),
        (MIXED, {"inputs": {"id": [1], "name": ["a"]}}, "inputs.v: is missing"),
        (MIXED, {"inputs": {"id": [1], "name": [2], "v": [[1]]}}, r"inputs.name\[0\]: 2 is not BYTES"),
        (VECTOR, {"inputs": [1, 2, 3, 4]}, r"inputs: is nested as \[4\], the model takes \[-1, 3\]"),
        (PEOPLE, {"inputs": {"age": [1], "height": [2, 3], "weight": [4]}}, "inputs.height: must be a list as long"),
        (PEOPLE, {"inputs": {"age": [1, "x"], "height": [2, 3], "weight": [4, 5]}}, r"inputs.age\[1\]: 'x'"),
    ],
)
def test_wrong_rows_are_named(signature: Signature, document: object, message: str) -> None:
    """The row, and the feature in it."""
    with pytest.raises(InvalidRequest, match=message):
        tensors_of(document, signature)


def test_null_is_refused_where_nan_is() -> None:
    """A model may say that it does not accept missing values."""
    signature = Signature((TensorSpec("x", "FP32", (2,), columns=("a", "b"), allow_nan=False),), ())
    with pytest.raises(InvalidRequest, match=r"instances\[1\].b: null is refused"):
        rows(signature, {"a": 1, "b": 2}, {"a": 1, "b": None})
