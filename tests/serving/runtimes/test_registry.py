import subprocess
import sys

import pytest

from serving.errors import BundleError
from serving.runtimes.registry import create, frameworks


@pytest.mark.parametrize("framework", frameworks())
def test_every_framework_makes_a_runtime(framework: str) -> None:
    """Each name in the registry leads to a class with the runtime's interface, before anything is loaded."""
    runtime = create(framework, threads=3)
    assert runtime.device == "cpu"
    assert runtime.text_inputs == frozenset()
    assert callable(runtime.load)
    assert callable(runtime.predict)
    assert callable(runtime.close)


def test_unknown_framework_lists_the_known() -> None:
    """A framework nobody knows is refused with the list of those that are."""
    with pytest.raises(BundleError, match=r"no runtime for framework 'caffe'.*echo, onnx, python, xgboost"):
        create("caffe")


def test_runtimes_import_no_framework_before_load() -> None:
    """Making every runtime imports neither onnxruntime nor xgboost: a worker carries only what it runs."""
    code = (
        "import sys; from serving.runtimes.registry import create, frameworks;"
        "[create(name) for name in frameworks()];"
        "print([name for name in ('onnxruntime', 'xgboost') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"
