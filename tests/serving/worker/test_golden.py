from pathlib import Path

import numpy as np
import pytest

from serving.bundle.bundle import Bundle
from serving.bundle.definition import Batching
from serving.bundle.golden import Golden
from serving.bundle.golden_file import write_golden
from serving.bundle.layout import GOLDEN_FILE
from serving.errors import BundleError
from serving.runtimes.base import Arrays
from serving.spec import ModelSpec, Signature, TensorSpec
from serving.worker.golden import GoldenFailure, prove
from serving.worker.predictor import Predictor
from tests.serving.runtimes.models import bundle
from tests.serving.worker.fakes import FakeRuntime
from tests.serving.worker.requests import ROW, rows


def predictor(runtime: FakeRuntime, signature: Signature = ROW, most: int = 4) -> Predictor:
    return Predictor(ModelSpec("m", "1"), signature, runtime, Batching(max_batch_rows=most))


def plain(folder: Path) -> Bundle:
    return bundle(folder, {}, framework="echo")


def golden(folder: Path, x: np.ndarray, y: np.ndarray) -> Bundle:
    made = plain(folder)
    write_golden(folder / GOLDEN_FILE, Golden({"x": x}, {"y": y}))
    return made


def test_without_examples_zeros_warm_up_one_row_and_a_full_batch(tmp_path: Path) -> None:
    """Both sizes run twice before any caller comes, and their cost is known."""
    runtime = FakeRuntime()
    cost = prove(predictor(runtime), plain(tmp_path))
    assert runtime.batches == [[0], [0], [0] * 4, [0] * 4]
    assert cost.seen == 2


def test_a_full_batch_of_large_rows_is_not_made_for_warming_up() -> None:
    """Memory for the warm-up is bounded."""
    from serving.worker.golden import _most_rows

    wide = Signature((TensorSpec("x", "FP32", (3, 1024, 1024)),), ())
    assert _most_rows(predictor(FakeRuntime(), wide, most=256)) == 5


def test_examples_that_agree(tmp_path: Path) -> None:
    """All golden rows are run, in batches the model takes, then its own rows warm it up."""
    runtime = FakeRuntime()
    x = rows(6)
    cost = prove(predictor(runtime), golden(tmp_path, x, x[:, :2] * 2))
    assert runtime.batches == [[0, 3, 6, 9], [12, 15], [0], [0], [0, 3, 6, 9], [0, 3, 6, 9]]
    assert cost.seen == 2


def test_examples_that_differ_say_where(tmp_path: Path) -> None:
    """Row, output, what was expected and what came stand in the reason."""
    x = rows(3)
    expected = x[:, :2] * 2
    expected[1, 0] = 7
    with pytest.raises(GoldenFailure, match=r"row 1: output y\[0\] is 6, expected 7"):
        prove(predictor(FakeRuntime()), golden(tmp_path, x, expected))


def test_a_model_that_raises_on_its_examples(tmp_path: Path) -> None:
    """That too is a golden failure, with the model's words."""
    runtime = FakeRuntime()

    def fail(inputs: Arrays) -> Arrays:
        raise ValueError("weights are missing")

    runtime.then = fail
    with pytest.raises(GoldenFailure, match="the model raised ValueError: weights are missing"):
        prove(predictor(runtime), golden(tmp_path, rows(2), rows(2, 2)))


def test_a_model_without_batch_runs_its_examples_one_by_one(tmp_path: Path) -> None:
    """Each example is a request of its own."""
    signature = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (3,)),), False)
    runtime = FakeRuntime()
    runtime.then = lambda inputs: {"y": inputs["x"] * 2}
    prove(predictor(runtime, signature), golden(tmp_path, rows(2), rows(2) * 2))
    assert [len(batch) for batch in runtime.batches] == [3, 3, 3, 3]


def test_a_model_that_refuses_zeros_is_not_refused(tmp_path: Path) -> None:
    """Zeros may make no sense to a model; only its golden examples judge it."""
    runtime = FakeRuntime()

    def refuse(inputs: Arrays) -> Arrays:
        raise ValueError("age must be positive")

    runtime.then = refuse
    assert prove(predictor(runtime), plain(tmp_path)).seen == 0


def test_outputs_unlike_the_announced_refuse_the_version(tmp_path: Path) -> None:
    """A model whose outputs have other rows than its inputs cannot be batched, and that is found at load."""
    runtime = FakeRuntime()
    runtime.then = lambda inputs: {"y": np.ones((7, 2), np.float32)}
    with pytest.raises(BundleError, match=r"model.yaml.outputs: output 'y' has 7 rows for 1 rows.*batching.enabled"):
        prove(predictor(runtime), plain(tmp_path))
