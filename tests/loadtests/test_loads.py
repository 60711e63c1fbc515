from pathlib import Path

import numpy as np
import onnxruntime

from loadtests.loads import chain, ratios


def test_the_models_are_made_on_the_spot(tmp_path: Path) -> None:
    """A chain of matrices of the extents that were asked for, any number of rows."""
    session = onnxruntime.InferenceSession(chain(tmp_path / "chain.onnx", [3, 5, 2]))
    (answer,) = session.run(None, {"input": np.ones((4, 3), np.float32)})
    assert answer.shape == (4, 2)


def test_each_period_is_compared_with_the_one_before_it() -> None:
    """The median of the rounds' ratios, so that one slow minute of the machine decides nothing."""
    periods = [(1.0, 10.0), (1.1, 12.0), (2.0, 100.0), (2.2, 90.0), (1.0, 10.0), (1.5, 13.0)]
    lines = [{"p50_ms": p50, "p99_ms": p99} for p50, p99 in periods]
    assert ratios(lines) == {"p50_ms": 1.1, "p99_ms": 1.2}
