"""An `Ensemble` as an ONNX model: one node, ai.onnx.ml TreeEnsembleRegressor (opset 3), FP32 [rows, features] in `x`,
margins FP32 [rows, columns] out `y`; softmax is part of the node, other transforms are left to the caller.

Written in protobuf's wire format by hand (onnx/onnx.proto), because the `onnx` package is 17 MB and 0.1 s of imports
for the sake of a message with one node. Tests read the result with `onnx` and its checker.

The base margins are trees of one leaf in front of the others, not `base_values`: ONNX Runtime adds those last, XGBoost
first, and only the same order of additions gives the same FP32 sums.
"""

from typing import Any, Final

import numpy as np

from serving.runtimes.compiled.ensemble import Ensemble, Floats, Ints, Transform

INPUT, OUTPUT = "x", "y"
_VARINT, _LENGTH = 0, 2
_INT, _STRING, _FLOATS, _INTS, _STRINGS = 2, 3, 6, 7, 8  # AttributeProto.AttributeType
_IR_VERSION: Final = 8
_OPSETS: Final = (("", 17), ("ai.onnx.ml", 3))
_FLOAT32: Final = 1


def onnx_model(ensemble: Ensemble) -> bytes:
    """A serialised ModelProto."""
    opsets = b"".join(_message(8, _text(1, domain) + _number(2, version)) for domain, version in _OPSETS)
    graph = b"".join(
        (
            _message(1, _node(_with_base(ensemble))),
            _text(2, "trees"),
            _message(11, _port(INPUT, ensemble.features)),
            _message(12, _port(OUTPUT, ensemble.columns)),
        )
    )
    return _number(1, _IR_VERSION) + _text(2, "dodona") + _message(7, graph) + opsets


def _with_base(ensemble: Ensemble) -> dict[str, Any]:
    """The arrays of the ensemble with a one-leaf tree a column in front, unless all base margins are 0."""
    count = ensemble.columns if ensemble.base.any() else 0
    zeros, ones = np.zeros(count, np.int64), np.ones(count, np.bool_)
    return {
        "columns": ensemble.columns,
        "column": np.concatenate((np.arange(count), ensemble.column)),
        "tree": np.concatenate((np.arange(count), ensemble.tree + count)),
        "node": np.concatenate((zeros, ensemble.node)),
        "feature": np.concatenate((zeros, np.where(ensemble.is_leaf, 0, ensemble.feature))),
        "threshold": np.concatenate((zeros, np.where(ensemble.is_leaf, 0, ensemble.threshold))).astype(np.float32),
        "left": np.concatenate((zeros, np.where(ensemble.is_leaf, 0, ensemble.left))),
        "right": np.concatenate((zeros, np.where(ensemble.is_leaf, 0, ensemble.right))),
        "missing_left": np.concatenate((zeros, np.where(ensemble.is_leaf, 0, ensemble.missing_left))),
        "is_leaf": np.concatenate((ones, ensemble.is_leaf)),
        "leaf": np.concatenate((ensemble.base[:count], ensemble.leaf)),
        "softmax": ensemble.transform is Transform.SOFTMAX,
    }


def _node(trees: dict[str, Any]) -> bytes:
    is_leaf, tree = trees["is_leaf"], trees["tree"]
    modes = [_text(9, "BRANCH_LT"), _text(9, "LEAF")]
    attributes = (
        _ints("nodes_treeids", tree),
        _ints("nodes_nodeids", trees["node"]),
        _ints("nodes_featureids", trees["feature"]),
        _floats("nodes_values", trees["threshold"]),
        _ints("nodes_truenodeids", trees["left"]),
        _ints("nodes_falsenodeids", trees["right"]),
        _ints("nodes_missing_value_tracks_true", trees["missing_left"]),
        _text(1, "nodes_modes") + b"".join([modes[leaf] for leaf in is_leaf.tolist()]) + _number(20, _STRINGS),
        _ints("target_treeids", tree[is_leaf]),
        _ints("target_nodeids", trees["node"][is_leaf]),
        _ints("target_ids", trees["column"][tree[is_leaf]]),
        _floats("target_weights", trees["leaf"][is_leaf]),
        _text(1, "n_targets") + _number(3, trees["columns"]) + _number(20, _INT),
        _text(1, "post_transform") + _text(4, "SOFTMAX" if trees["softmax"] else "NONE") + _number(20, _STRING),
    )
    head = _text(1, INPUT) + _text(2, OUTPUT) + _text(4, "TreeEnsembleRegressor") + _text(7, "ai.onnx.ml")
    return head + b"".join(_message(5, attribute) for attribute in attributes)


def _port(name: str, width: int) -> bytes:
    """A ValueInfoProto: FP32 [rows, width]."""
    shape = _message(1, _text(2, "rows")) + _message(1, _number(1, width))
    tensor = _number(1, _FLOAT32) + _message(2, shape)
    return _text(1, name) + _message(2, _message(1, tensor))


def _ints(name: str, values: Ints) -> bytes:
    return _text(1, name) + _message(8, varints(values)) + _number(20, _INTS)


def _floats(name: str, values: Floats) -> bytes:
    return _text(1, name) + _message(7, values.astype("<f4").tobytes()) + _number(20, _FLOATS)


def varints(values: Ints) -> bytes:
    """Base-128 forms of numbers in 0..2**35, one after another."""
    shifted = np.asarray(values, np.int64)[:, None] >> np.arange(0, 35, 7)
    used = shifted > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    groups = (shifted & 0x7F | more << 7).astype(np.uint8)
    return groups[used].tobytes()


def _number(field: int, value: int) -> bytes:
    return varints(np.array([field << 3 | _VARINT, value]))


def _message(field: int, content: bytes) -> bytes:
    return varints(np.array([field << 3 | _LENGTH, len(content)])) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
