import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.runtimes.compiled.onnx_trees import onnx_model, varints
from serving.wire import varint
from tests.serving.runtimes.compiled.boosters import ensemble, trained


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_the_model_is_valid(objective: str) -> None:
    """The official package reads what is written by hand, its checker passes it, and a rewrite says the same."""
    trees = ensemble(trained(objective))
    model = onnx.load_from_string(onnx_model(trees))
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    splits = ~trees.is_leaf
    base = trees.columns
    assert attributes["n_targets"] == trees.columns
    assert attributes["nodes_modes"] == [b"LEAF"] * base + [b"LEAF" if leaf else b"BRANCH_LT" for leaf in trees.is_leaf]
    assert np.array_equal(np.float32(attributes["nodes_values"])[base:][splits], trees.threshold[splits])
    assert np.array_equal(np.float32(attributes["target_weights"])[:base], trees.base)
    assert attributes["nodes_missing_value_tracks_true"][base:] == (trees.missing_left & splits).astype(int).tolist()
    assert onnx.load_from_string(model.SerializeToString()) == model


@given(st.lists(st.integers(0, 2**35 - 1), min_size=1))
def test_varints(numbers: list[int]) -> None:
    """Many at once as one by one."""
    assert varints(np.array(numbers)) == b"".join(map(varint, numbers))
