"""What every server under test is given: the demo's breast-cancer trees, rows that they have not seen, right answers.

Two forms. `onnx`: the trees converted by onnxmltools, one file that every server runs in the same ONNX Runtime (a few
microseconds a row), so that what is measured is the server. `xgboost`: the Booster as it was trained, where a row costs
more than a server does.
"""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dodona.client.description import Description
from examples.train import Rows
from loadtests.answers import ask
from loadtests.figures import Spread, spread
from loadtests.h2load import Load
from loadtests.peers.environment import install
from loadtests.peers.peer import SERVED
from loadtests.peers.served.trees import load
from loadtests.subject import MODEL, Answers, expected, held_out, trained
from serving.bundle.pack import pack
from serving.spec import Signature, TensorSpec

Form = Literal["onnx", "xgboost"]
CONVERTER = ("onnxmltools==1.16.0", "onnx==1.23.2", "xgboost-cpu==3.2.0", "packaging")
FLOOR_RUNS = 1_000
RTOL, ATOL = 1e-5, 1e-6


@dataclass(frozen=True)
class Trial:
    """`answers`: shape (rows, outputs). `repository` holds the one bundle, `model_file` is what the rivals load."""

    model: Description
    rows: Rows
    answers: Answers
    repository: Path
    model_file: Path

    def wrong(self, loads: Sequence[Load]) -> int:
        """`loads`: the request for each of the first rows. How many are not answered as the model in memory does."""
        pairs = zip(loads, self.answers, strict=False)
        return sum(not _close(ask(load).values, right) for load, right in pairs)

    def floor_us(self) -> Spread:
        """CPU microseconds of one row in this process, no server at all, over five repetitions."""
        predict = load(str(self.model_file))
        row = self.rows[:1]
        costs = []
        for _ in range(6):
            began = time.process_time()
            for _ in range(FLOOR_RUNS):
                predict(row)
            costs.append((time.process_time() - began) / FLOOR_RUNS * 1e6)
        return spread(costs[1:])  # the first one warms up


def _close(said: Answers, right: Answers) -> bool:
    return said.shape == right.shape and bool(np.allclose(said, right, rtol=RTOL, atol=ATOL))


def prepared(form: Form, work: Path, cache: Path) -> Trial:
    """Train, convert and pack what is missing. Raises NotInstalled or RuntimeError if the trees cannot be converted."""
    trained(work, (MODEL,))
    rows = held_out(work)
    positive = expected(work, rows)
    booster = work / "models" / MODEL / "1" / "model.ubj"
    repository = work / "alone" / form
    if form == "xgboost":
        if not repository.exists():
            shutil.copytree(work / "models" / MODEL, repository / MODEL)
        return Trial(_description(1), rows, positive.reshape(-1, 1), repository, booster)
    model_file = work / "alone" / f"{MODEL}.onnx"
    if not (repository / MODEL / "1" / "MANIFEST.json").exists():
        model_file.parent.mkdir(parents=True, exist_ok=True)
        _convert(booster, model_file, cache)
        pack(model_file, name=MODEL, repository=repository, golden_inputs=rows[:16], options={"intra_op_threads": 1})
    return Trial(_description(2), rows, np.stack([1 - positive, positive], axis=1), repository, model_file)


def _description(outputs: int) -> Description:
    tensors = TensorSpec("input", "FP32", (30,)), TensorSpec("probabilities", "FP32", (outputs,))
    return Description(MODEL, ("1",), "", Signature(tensors[:1], tensors[1:]))


def _convert(booster: Path, target: Path, cache: Path) -> None:
    environment = install(cache / "convert", CONVERTER)
    command = [str(environment.python), str(SERVED / "convert.py"), str(booster), str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"the trees cannot be converted to ONNX: {ran.stderr.strip()[-500:]}")
