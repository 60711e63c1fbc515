from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.bundle.compare import compare, run_golden
from serving.bundle.golden import Golden, Tolerance
from serving.errors import BundleError
from serving.spec import Signature, TensorSpec

Array = NDArray[Any]
X = {"x": np.zeros((2, 1), "<f4")}


def floats(*values: float, dtype: str = "<f4") -> Array:
    return np.array(values, dtype=dtype)


def objects(*values: object) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


class Adder:
    """y = x + 1, remembering what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def predict(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        assert inputs["x"].flags.c_contiguous
        assert inputs["x"].flags.writeable
        self.asked.append(inputs["x"].shape)
        return {"y": inputs["x"] + 1}


def signature(*shape: int, batched: bool = True) -> Signature:
    return Signature((TensorSpec("x", "FP32", shape),), (TensorSpec("y", "FP32", shape),), batched)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (floats(1, 2), floats(1.00005, 2)),
        (floats(np.nan, np.inf), floats(np.nan, np.inf)),
        (objects(b"a", b"b"), objects("a", b"b")),
        (np.array([True, False]), np.array([True, False])),
        (floats(1, 2, dtype="<f2"), floats(1.005, 2, dtype="<f2")),
        (np.zeros((2, 0), "<f4"), np.zeros((2, 0), "<f4")),
    ],
)
def test_equal_within_tolerance_passes(expected: Array, got: Array) -> None:
    """Rounding, NaN for NaN, infinity for infinity, and texts in either form are no difference."""
    compare(Golden(X, {"y": expected}), {"y": got, "other": got})


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        (floats(1, 2), floats(1, 2.5), "row 1: output y is 2.5, expected 2 (tolerance 1e-05 + 0.0001 x |expected|)"),
        (floats(1, 2), floats(np.nan, 2), "row 0: output y is nan, expected 1"),
        (floats(np.nan, 2), floats(1, 2), "row 0: output y is 1, expected nan"),
        (floats(np.inf, 2), floats(-np.inf, 2), "row 0: output y is -inf, expected inf"),
        (np.array([1, 2]), np.array([1, 3]), "row 1: output y is 3, expected 2 (tolerance exact); 1 of 2 rows"),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 9], [9, 4]]), "row 0: output y[1] is 9, expected 2 (tolerance"),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 9], [9, 4]]), "2 of 2 rows differ"),
        (objects(b"a", b"b"), objects(b"a", b"c"), "row 1: output y is b'c', expected b'b'"),
        (np.array([True, False]), np.array([True, True]), "row 1: output y is True, expected False"),
        (floats(1, 2), floats(1, 2, dtype="<f8"), "output y is float64, expected float32"),
        (floats(1, 2), floats(1, 2, 3), "output y has shape [3], expected [2]"),
    ],
)
def test_a_difference_is_named_by_row_output_and_both_values(expected: Array, got: Array, text: str) -> None:
    """The message is all that is needed to see what went wrong."""
    with pytest.raises(BundleError) as caught:
        compare(Golden(X, {"y": expected}), {"y": got})
    assert text in str(caught.value)


def test_a_missing_output_is_named() -> None:
    """A model that lost an output is refused, with those it has."""
    with pytest.raises(BundleError, match="no output y; it has z"):
        compare(Golden(X, {"y": floats(1, 2)}), {"z": floats(1, 2)})


def test_a_given_tolerance_is_obeyed_for_floats_and_integers() -> None:
    """`atol + rtol * |expected|`, just inside and just outside."""
    loose = {"y": Tolerance(atol=1, rtol=0.1)}
    compare(Golden(X, {"y": np.array([10, 20])}, loose), {"y": np.array([12, 17])})
    with pytest.raises(BundleError, match="row 0: output y is 13, expected 10"):
        compare(Golden(X, {"y": np.array([10, 20])}, loose), {"y": np.array([13, 20])})
    compare(Golden(X, {"y": floats(10, 20)}, loose), {"y": floats(11.9, 20)})


def test_bf16_is_compared_as_numbers() -> None:
    """Two neighbouring patterns are close numbers; twice the number is not."""
    golden = Golden(X, {"y": np.array([0x3F80, 0x4000], np.uint16)}, datatypes={"y": "BF16"})
    compare(golden, {"y": np.array([0x3F81, 0x4000], np.uint16)})
    with pytest.raises(BundleError, match="row 0: output y is 2, expected 1"):
        compare(golden, {"y": np.array([0x4000, 0x4000], np.uint16)})


def test_batched_models_run_examples_in_batches() -> None:
    """No run has more rows than the model may take, and the answers are in the order of the examples."""
    adder = Adder()
    x = np.arange(10, dtype="<f4").reshape(5, 2)
    outputs = run_golden(adder, signature(2), Golden({"x": x}, {}), 2)
    np.testing.assert_array_equal(outputs["y"], x + 1)
    assert adder.asked == [(2, 2), (2, 2), (1, 2)]


def test_models_that_do_not_batch_run_one_example_at_a_time() -> None:
    """Each example is a whole input; the answers are put together again."""
    adder = Adder()
    x = np.arange(6, dtype="<f4").reshape(3, 2)
    outputs = run_golden(adder, signature(2, batched=False), Golden({"x": x}, {}), 8)
    np.testing.assert_array_equal(outputs["y"], x + 1)
    assert adder.asked == [(2,), (2,), (2,)]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"z": np.zeros((1, 2), "<f4")}, "has inputs ['z'], the model takes ['x']"),
        ({"x": np.zeros((1, 3), "<f4")}, "input x is FP32[3] per example, the model takes x FP32[2]"),
        ({"x": np.zeros((1, 2), "<f8")}, "input x is FP64[2] per example"),
    ],
)
def test_examples_that_are_not_the_models_are_refused(inputs: dict[str, Array], text: str) -> None:
    """A wrong name, shape or datatype is said before the model is asked."""
    adder = Adder()
    with pytest.raises(BundleError) as caught:
        run_golden(adder, signature(2), Golden(inputs, {}), 8)
    assert text in str(caught.value)
    assert adder.asked == []
