"""From what callers have in hand to tensors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dodona.client.description import Description
from dodona.client.inputs import tensors_from
from serving.errors import InvalidRequest
from serving.spec import Signature, TensorSpec


def model(*inputs: TensorSpec, batched: bool = True) -> Description:
    return Description("m", ("1",), "test", Signature(inputs, (), batched))


ROW = TensorSpec("x", "FP32", (3,), columns=("a", "b", "c"))
PLAIN = TensorSpec("x", "FP32", (3,))
COUNT = TensorSpec("n", "INT8", ())
WORD = TensorSpec("word", "BYTES", ())
IMAGE = TensorSpec("image", "UINT8", (2, 2))


def arrays(inputs: Any, *tensors: TensorSpec, batched: bool = True) -> dict[str, Any]:
    found = tensors_from(inputs, model(*tensors, batched=batched))
    return {tensor.name: tensor.array for tensor in found.tensors}


def test_records_become_rows_in_the_models_order() -> None:
    """Columns are placed by name, whatever order the record has, in the model's dtype."""
    x = arrays([{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}], ROW)["x"]
    assert x.dtype == np.float32
    assert x.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("wrap", [pd.DataFrame, dict], ids=["frame", "table"])
def test_tables_become_rows(wrap: Any) -> None:
    """A data frame and a mapping of sequences are read by column."""
    x = arrays(wrap({"c": [3, 6], "a": [1, 4], "b": [2, 5]}), ROW)["x"]
    assert x.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_frame_without_named_columns_goes_in_order() -> None:
    """Where the model names no columns, a frame is taken as the array it holds."""
    assert arrays(pd.DataFrame([[1, 2, 3]], columns=["p", "q", "r"]), PLAIN)["x"].tolist() == [[1, 2, 3]]


def test_records_may_mix_inputs_and_columns() -> None:
    """One record can hold features of one input and whole values of others."""
    found = arrays([{"a": 1, "b": 2, "c": 3, "word": "hi", "image": [[1, 2], [3, 4]]}] * 2, ROW, WORD, IMAGE)
    assert found["x"].shape == (2, 3)
    assert found["word"].tolist() == ["hi", "hi"]
    assert found["image"].shape == (2, 2, 2)


def test_records_of_one_value_are_rows_not_one_row() -> None:
    """n records with a scalar each are n rows also where the input has a second, open dimension."""
    assert arrays([{"x": 1}, {"x": 2}], TensorSpec("x", "FP32", (-1,)))["x"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("value", "tensor", "shape"),
    [
        (7, COUNT, (1,)),
        ([7, 8], COUNT, (2,)),
        ([[7], [8]], COUNT, (2,)),
        ([1, 2, 3], PLAIN, (1, 3)),
        (5, TensorSpec("x", "FP32", (1,)), (1, 1)),
        ([5, 6], TensorSpec("x", "FP32", (1,)), (2, 1)),
        ([[1, 2], [3, 4]], IMAGE, (1, 2, 2)),
        ("text", WORD, (1,)),
    ],
)
def test_a_left_out_dimension_is_put_back(value: Any, tensor: TensorSpec, shape: tuple[int, ...]) -> None:
    """A scalar or a row becomes a batch of one; a list of scalars becomes rows."""
    (array,) = arrays(value, tensor).values()
    assert array.shape == shape


def test_an_unbatched_model_takes_its_own_shape() -> None:
    """Without a batch dimension an array stays as it is, and a record fills it."""
    assert arrays([1, 2, 3], PLAIN, batched=False)["x"].shape == (3,)
    assert arrays({"a": 1, "b": 2, "c": 3}, ROW, batched=False)["x"].tolist() == [1, 2, 3]


def test_none_is_a_missing_number() -> None:
    """None in a float column is NaN, as in a record read from JSON."""
    assert np.isnan(arrays({"a": None, "b": 2, "c": 3}, ROW)["x"][0, 0])


def test_bytes_keep_their_trailing_zeros() -> None:
    """Bytes are not passed through NumPy's string dtype, which would cut them."""
    assert arrays({"word": [b"a\x00", b"\x00"]}, WORD)["word"].tolist() == [b"a\x00", b"\x00"]


def test_a_model_without_declared_inputs_takes_what_comes() -> None:
    """The arrays' own dtypes are sent."""
    found = tensors_from({"any": np.array([1, 2], np.int16), "text": "a"}, model())
    assert [(t.name, t.datatype) for t in found.tensors] == [("any", "INT16"), ("text", "BYTES")]


@pytest.mark.parametrize(
    ("inputs", "tensors", "match"),
    [
        ({}, [ROW], "inputs: no inputs; m takes x FP32"),
        ({"a": 1, "b": 2}, [ROW], r"inputs\.x: missing: c; send every column"),
        ([], [ROW], r"inputs: there are no rows; "),
        ({"zz": 1}, [ROW], r"inputs\.x: missing: a, b, c; 'zz' is unknown$"),
        ({"a": 1, "b": 2, "C": 3}, [ROW], r"'C' is unknown, did you mean 'c'"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, [ROW], r"inputs\.d: m has no input or column of this name"),
        ({"zzz": 1}, [PLAIN], r"inputs\.zzz: .*m takes x FP32\[3\]"),
        ({"a": [1, 2], "b": [1], "c": [1]}, [ROW], r"columns of \[1, 2\] rows"),
        ({"a": [[1]], "b": [1], "c": [1]}, [ROW], r"inputs\.a: has shape \[1, 1\]"),
        ([{"a": 1, "b": 2, "c": 3}, {"a": 1}], [ROW], r"inputs\[1\]: has not the same names.*b, c"),
        ([1, 2], [COUNT, WORD], "one array given, but m has 2 inputs"),
        ([1, 2], [PLAIN], r"shape \[2\] does not fit \[-1, 3\]; send 2 dimensions, the first is the rows"),
        ([1.5], [COUNT], "does not fit INT8: float64 would lose what it means; send n INT8"),
        ([300], [COUNT], "outside -128..127"),
        (["a"], [COUNT], "text where numbers are expected"),
        ([[1, 2], [3]], [PLAIN], "does not fit FP32"),
        ([1e300, 0, 0], [PLAIN], "a value is too large"),
        ([None], [WORD], "NoneType where text or bytes is expected"),
        ([None], [COUNT], "does not fit INT8"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(inputs: Any, tensors: list[TensorSpec], match: str) -> None:
    """Every misfit names the input or column, and says what to send."""
    with pytest.raises(InvalidRequest, match=match):
        arrays(inputs, *tensors)


def test_an_array_without_a_datatype_is_refused() -> None:
    """Complex numbers have no form on the wire."""
    with pytest.raises(InvalidRequest, match="complex128"):
        arrays({"any": np.array([1j])})


def test_only_arrangement_by_the_description_is_positional() -> None:
    """Arrays given by input name rest on nothing a new version could have changed silently."""
    assert not tensors_from({"x": [1, 2, 3]}, model(ROW)).positional
    assert tensors_from({"a": 1, "b": 2, "c": 3}, model(ROW)).positional
    assert tensors_from([1, 2, 3], model(ROW)).positional
