"""Models made here, so that everyone has the same: seeded weights, one FP32 input `input`, one output `probabilities`.

What they answer means nothing; what they cost does. Each is written as ONNX and run by ONNX Runtime in every server.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET, IR = 17, 8
HIDDEN = 3072
"""One row reads 3072 x 3072 weights, 38 MB a layer, for 19 MFLOP: memory bound, so rows together cost little more."""
DENSE_FEATURES, DENSE_LAYERS = 256, 4


class _Graph:
    """Nodes and weights as they are added; each node takes what the last one gave."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self._shape = shape
        self._random = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._last = "input"

    def add(self, kind: str, *constants: NDArray[Any], **attributes: Any) -> "_Graph":
        from onnx import helper, numpy_helper

        number = len(self._nodes)
        names = [f"w{number}_{position}" for position in range(len(constants))]
        self._weights += [numpy_helper.from_array(each, name) for each, name in zip(constants, names, strict=True)]
        self._nodes.append(helper.make_node(kind, [self._last, *names], [f"t{number}"], **attributes))
        self._last = f"t{number}"
        return self

    def layer(self, kind: str, outputs: int, inputs: int, *window: int, **attributes: Any) -> "_Graph":
        """Gemm or Conv with weights that keep the size of what goes through."""
        shape = (outputs, inputs, *window)
        scale = (2 / np.prod(shape[1:])) ** 0.5
        weights = (self._random.standard_normal(shape, np.float32) * scale).astype(np.float32)
        if kind == "Gemm":
            weights = np.ascontiguousarray(weights.T)
        return self.add(kind, weights, np.zeros(outputs, np.float32), **attributes)

    def save(self, target: Path, outputs: int) -> None:
        import onnx
        from onnx import TensorProto, helper

        self._nodes[-1].output[0] = "probabilities"
        graph = helper.make_graph(
            self._nodes,
            target.stem,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *self._shape])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", outputs])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model)
        aside = target.with_suffix(".part")
        onnx.save(model, aside)
        aside.rename(target)


def small_network(target: Path) -> None:
    """A convolutional network of the size people train on handwritten digits: 28 x 28 pixels to ten classes."""
    graph = _Graph((1, 28, 28), seed=1)
    graph.layer("Conv", 16, 1, 5, 5, pads=[2, 2, 2, 2]).add("Relu").add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.layer("Conv", 32, 16, 3, 3, pads=[1, 1, 1, 1]).add("Relu").add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten").layer("Gemm", 10, 32 * 7 * 7).add("Softmax", axis=1).save(target, 10)


def dense_network(target: Path) -> None:
    """Fully connected layers too large for the cache: a row alone costs 5 ms and more, in a batch far less."""
    graph = _Graph((DENSE_FEATURES,), seed=2).layer("Gemm", HIDDEN, DENSE_FEATURES).add("Relu")
    for _ in range(DENSE_LAYERS):
        graph.layer("Gemm", HIDDEN, HIDDEN).add("Relu")
    graph.layer("Gemm", 8, HIDDEN).add("Softmax", axis=1).save(target, 8)


def tiny_network(target: Path) -> None:
    """One layer: a model that costs next to nothing, for what serving alone costs."""
    _Graph((30,), seed=4).layer("Gemm", 2, 30).add("Softmax", axis=1).save(target, 2)


def corner_of_image(target: Path) -> None:
    """Three pixels of a [3, 224, 224] image, so that what is measured is how 602,112 bytes get there."""
    graph = _Graph((3, 224, 224), seed=3)
    ends = [np.array(each, np.int64) for each in ([0, 0], [1, 1], [2, 3])]
    graph.add("Slice", *ends).add("Flatten").save(target, 3)
