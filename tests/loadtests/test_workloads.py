"""The bench's own models: they load, answer rows in batches as alone, and are the same every time."""

from pathlib import Path

import numpy as np
import pytest

from loadtests.bench.models import corner_of_image, small_network, tiny_network
from loadtests.bench.trial import prepared
from loadtests.bench.workloads import IMAGE, SMALL, TINY, Workload
from loadtests.peers.served.trees import load


@pytest.mark.parametrize(("workload", "make"), [(SMALL, small_network), (TINY, tiny_network), (IMAGE, corner_of_image)])
def test_a_batch_is_answered_as_its_rows(workload: Workload, make: object, tmp_path: Path) -> None:
    """Shapes are those the workload says, and joining rows changes no answer."""
    target = tmp_path / "model.onnx"
    assert workload.make is make
    workload.make(target)
    rows = np.random.default_rng(0).standard_normal((3, *workload.shape), np.float32)
    predict = load(str(target))
    together = predict(rows)
    assert together.shape == (3, workload.outputs)
    alone = np.concatenate([predict(rows[number : number + 1]) for number in range(3)])
    np.testing.assert_allclose(together, alone, rtol=workload.rtol, atol=workload.atol)


def test_a_model_is_the_same_every_time(tmp_path: Path) -> None:
    """Figures of two days are of one model."""
    for name in "ab":
        (tmp_path / name).mkdir()
        small_network(tmp_path / name / "model.onnx")
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()


def test_a_trial_is_packed_once(tmp_path: Path) -> None:
    """The second time nothing is made, and the answers are the same."""
    trial = prepared(TINY, "onnx", tmp_path, tmp_path / "cache")
    stamp = (trial.repository / TINY.model / "1" / "MANIFEST.json").stat().st_mtime_ns
    again = prepared(TINY, "onnx", tmp_path, tmp_path / "cache")
    assert (again.repository / TINY.model / "1" / "MANIFEST.json").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(trial.answers, again.answers)
