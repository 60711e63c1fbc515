from pathlib import Path

import numpy as np
import pytest

from serving.errors import BundleError
from serving.runtimes.echo import EchoRuntime
from tests.serving.runtimes.models import bundle

INPUTS = [{"name": "x", "datatype": "FP32", "shape": [2]}, {"name": "t", "datatype": "BYTES", "shape": [1]}]


def test_outputs_are_the_inputs(tmp_path: Path) -> None:
    """Without outputs in model.yaml every input comes back under its own name."""
    runtime = EchoRuntime()
    signature = runtime.load(bundle(tmp_path, {}, framework="echo", inputs=INPUTS))
    assert signature.outputs == signature.inputs
    arrays = {"x": np.ones((3, 2), np.float32), "t": np.array([[b"a"], [b"b"], [b"c"]], object)}
    outputs = runtime.predict(arrays)
    assert {name: outputs[name] is arrays[name] for name in arrays} == {"x": True, "t": True}
    runtime.close()


def test_outputs_may_have_names_of_their_own(tmp_path: Path) -> None:
    """The i-th declared output is the i-th input."""
    runtime = EchoRuntime()
    outputs = [{"name": "y", "datatype": "FP32", "shape": [2]}]
    runtime.load(bundle(tmp_path, {}, framework="echo", inputs=INPUTS, outputs=outputs))
    assert list(runtime.predict({"x": np.ones((1, 2)), "t": np.ones(1)})) == ["y"]


def test_an_output_unlike_its_input_is_refused(tmp_path: Path) -> None:
    """Echo cannot change datatypes, and says what stands where."""
    outputs = [{"name": "y", "datatype": "FP64", "shape": [2]}]
    with pytest.raises(BundleError, match=r"outputs\[0\]: echo gives back its inputs.* x FP32\[2\], not y FP64\[2\]"):
        EchoRuntime().load(bundle(tmp_path, {}, framework="echo", inputs=INPUTS, outputs=outputs))


@pytest.mark.parametrize("unwanted", [7, "bad"])
def test_it_fails_on_a_chosen_value(tmp_path: Path, unwanted: float | str) -> None:
    """`fail_on` makes a run with that number or text raise, and no other."""
    runtime = EchoRuntime()
    runtime.load(bundle(tmp_path, {}, framework="echo", inputs=INPUTS, options={"fail_on": unwanted}))
    fine = {"x": np.zeros((1, 2), np.float32), "t": np.array([[b"good"]], object)}
    assert set(runtime.predict(fine)) == {"x", "t"}
    with pytest.raises(ValueError, match=f"holds {unwanted}.*, which this model is told to fail on"):
        runtime.predict({"x": np.full((1, 2), 7, np.float32), "t": np.array([[b"bad"]], object)})


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    """A misspelt option is answered with the right one."""
    with pytest.raises(BundleError, match="did you mean 'delay_s'"):
        EchoRuntime().load(bundle(tmp_path, {}, framework="echo", inputs=INPUTS, options={"delay": 1}))
