"""Bundles on disk, as `dodona pack` would publish them, for whatever opens one by its folder."""

import os
from pathlib import Path
from typing import Any

from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.worker.settings import WorkerModel

X = TensorDefinition(name="x", datatype="FP32", shape=(2,))


def echo(repository: Path, name: str = "echo", **options: Any) -> WorkerModel:
    """A published echo model of two floats; `options` are its own."""
    packed = pack(None, name=name, repository=repository, framework="echo", inputs=[X], options=options)
    return WorkerModel(name=name, version=packed.spec.version, model_folder=str(repository / name))


_GATED = """
class Model:
    def __init__(self, gate):
        self.gate = gate

    def load(self, folder):
        pass

    def predict(self, inputs):
        if (inputs["x"] == 1).any():
            with open(self.gate, "rb") as gate:  # a named pipe: blocks until someone has written to it
                gate.read(1)
        return {"x": inputs["x"]}
"""


class Gate:
    """Holds runs of a gated model until `open` is called."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR)  # as a writer of its own it never blocks

    def open(self) -> None:
        os.write(self._descriptor, b"go")

    def close(self) -> None:
        os.close(self._descriptor)


def gated(repository: Path, gate: Gate, name: str) -> WorkerModel:
    """A published python model that gives back its two floats; a run with a 1 among them lasts until the gate opens."""
    source = repository / f"{name}.py"
    source.write_text(_GATED)
    packed = pack(
        source,
        name=name,
        repository=repository,
        framework="python",
        class_=f"{name}:Model",
        inputs=[X],
        outputs=[X],
        options={"gate": str(gate.path)},
    )
    return WorkerModel(name=name, version=packed.spec.version, model_folder=str(repository / name))
