"""What every server under test is given: one model, rows to ask, and the right answers.

The trees have two forms. `onnx`: converted by onnxmltools, one file that every server runs in the same ONNX Runtime (a
few microseconds a row), so that what is measured is the server. `xgboost`: the Booster as it was trained, where a row
costs more than a server does. The other models are ONNX only.
"""

import hashlib
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
from loadtests.bench import models
from loadtests.bench.workloads import Workload
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
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Up to what a run holds by default; those above MOST_BYTES are left out."""
MOST_BYTES = 128 * 1024 * 1024
ROWS = 6
"""Of a model that is made here."""
REPETITIONS, REPETITION_S = 3, 0.1


@dataclass(frozen=True)
class Floor:
    """The model in this process, no server at all. `cpu_us`: of a row alone. `rates`: rows a second, by batch size."""

    cpu_us: Spread
    rates: dict[int, float]

    @property
    def best_batch(self) -> int:
        return max(self.rates, key=self.rates.__getitem__)

    @property
    def best_rate(self) -> float:
        return self.rates[self.best_batch]


@dataclass(frozen=True)
class Trial:
    """`answers`: shape (rows, outputs). `repository` holds the one bundle, `model_file` is what the rivals load."""

    workload: Workload
    model: Description
    rows: Rows
    answers: Answers
    repository: Path
    model_file: Path

    def wrong(self, loads: Sequence[Load]) -> int:
        """`loads`: the request for each of the first rows. How many are not answered as the model in memory does."""
        pairs = zip(loads, self.answers, strict=False)
        return sum(not self._close(ask(load).values, right) for load, right in pairs)

    def _close(self, said: Answers, right: Answers) -> bool:
        tolerance = self.workload
        return said.shape == right.shape and bool(np.allclose(said, right, tolerance.rtol, tolerance.atol))

    def floor(self) -> Floor:
        """Batches in turn and over again; medians. The first turn warms up."""
        predict = load(str(self.model_file))
        cpu_us: list[float] = []
        rates: dict[int, list[float]] = {}
        for turn in range(REPETITIONS + 1):
            for batch in BATCHES:
                if batch * self.rows[0].nbytes > MOST_BYTES:
                    continue
                rows = np.ascontiguousarray(np.resize(self.rows, (batch, *self.rows.shape[1:])))
                runs, cpu, began = 0, time.process_time(), time.perf_counter()
                while not runs or time.perf_counter() - began < REPETITION_S:
                    for _ in range(20 if self.workload.make is None else 1):
                        predict(rows)
                        runs += 1
                if turn:
                    rates.setdefault(batch, []).append(runs * batch / (time.perf_counter() - began))
                    if batch == 1:
                        cpu_us.append((time.process_time() - cpu) / runs * 1e6)
        return Floor(spread(cpu_us), {batch: spread(each).median for batch, each in rates.items()})


def prepared(workload: Workload, form: Form, work: Path, cache: Path) -> Trial:
    """Train, convert and pack what is missing. Raises NotInstalled or RuntimeError if the trees cannot be converted."""
    if workload.make is None:
        return _trees(workload, form, work, cache)
    # Made anew when what makes it has changed.
    stamp = hashlib.sha256(Path(models.__file__).read_bytes()).hexdigest()[:8]
    repository = work / "alone" / f"{workload.name}-{stamp}"
    model_file = repository.with_suffix(".onnx")
    rows = np.random.default_rng(0).standard_normal((ROWS, *workload.shape), np.float32)
    if not (repository / workload.model / "1" / "MANIFEST.json").exists():
        model_file.parent.mkdir(parents=True, exist_ok=True)
        workload.make(model_file)
        _pack(model_file, workload.model, repository, rows)
    return Trial(workload, _description(workload), rows, load(str(model_file))(rows), repository, model_file)


def _trees(workload: Workload, form: Form, work: Path, cache: Path) -> Trial:
    trained(work, (MODEL,))
    rows = held_out(work)
    positive = expected(work, rows)
    booster = work / "models" / MODEL / "1" / "model.ubj"
    repository = work / "alone" / form
    if form == "xgboost":
        if not repository.exists():
            shutil.copytree(work / "models" / MODEL, repository / MODEL)
        return Trial(workload, _description(workload, 1), rows, positive.reshape(-1, 1), repository, booster)
    model_file = work / "alone" / f"{MODEL}.onnx"
    if not (repository / MODEL / "1" / "MANIFEST.json").exists():
        model_file.parent.mkdir(parents=True, exist_ok=True)
        _convert(booster, model_file, cache)
        _pack(model_file, MODEL, repository, rows[:16])
    answers = np.stack([1 - positive, positive], axis=1)
    return Trial(workload, _description(workload), rows, answers, repository, model_file)


def _pack(model_file: Path, name: str, repository: Path, rows: Rows) -> None:
    pack(model_file, name=name, repository=repository, golden_inputs=rows, options={"intra_op_threads": 1})


def _description(workload: Workload, outputs: int | None = None) -> Description:
    given = TensorSpec("input", "FP32", workload.shape)
    told = TensorSpec("probabilities", "FP32", (outputs or workload.outputs,))
    return Description(workload.model, ("1",), "", Signature((given,), (told,)))


def _convert(booster: Path, target: Path, cache: Path) -> None:
    environment = install(cache / "convert", CONVERTER)
    command = [str(environment.python), str(SERVED / "convert.py"), str(booster), str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"the trees cannot be converted to ONNX: {ran.stderr.strip()[-500:]}")
