"""Real bundles for tests, small and quick to make."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.bundle.packing import Packed

VECTOR = TensorDefinition(name="x", datatype="FP32", shape=(3,))
EXAMPLES = np.arange(12, dtype=np.float32).reshape(4, 3)


def pack_echo(repository: Path | str, name: str = "pets", **arguments: object) -> Packed:
    """A version of a model that answers what it was asked."""
    settings: dict[str, object] = {"inputs": [VECTOR], "golden_inputs": EXAMPLES, "framework": "echo"}
    return pack(None, name=name, repository=repository, **(settings | arguments))  # type: ignore[arg-type]


def doubling_model(batch: int | str = "rows", width: int = 3, factor: float = 2.0) -> onnx.ModelProto:
    """y = factor * x, for x of shape [batch, width]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def write_triton(repository: Path, name: str, config: str | None, versions: tuple[str, ...] = ("1",)) -> Path:
    """A model in Triton's layout; without a config.pbtxt where `config` is None."""
    folder = repository / name
    for version in versions:
        (folder / version).mkdir(parents=True)
        (folder / version / "model.onnx").write_bytes(doubling_model().SerializeToString())
    if config is not None:
        (folder / "config.pbtxt").write_text(config)
    return folder
