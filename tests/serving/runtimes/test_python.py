import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from serving.errors import BundleError
from serving.runtimes.python import PythonRuntime
from tests.serving.runtimes.models import bundle

TENSORS = {
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [2]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": []}],
}
SUM = """
from pathlib import Path

class Model:
    device = "cpu"
    text_inputs = ("t",)

    def __init__(self, scale=1.0):
        self.scale = scale
        self.closed = False

    def load(self, folder: Path) -> None:
        self.offset = float((folder / "offset.txt").read_text())

    def predict(self, inputs):
        return {"y": inputs["x"].sum(axis=1) * self.scale + self.offset}

    def close(self):
        CLOSED.append(self)

CLOSED = []
"""


def load(folder: Path, files: dict[str, bytes | str], target: str = "model:Model", **values: Any) -> PythonRuntime:
    runtime = PythonRuntime()
    runtime.load(bundle(folder, files, framework="python", **{"class": target}, **TENSORS, **values))
    return runtime


def private_modules() -> set[str]:
    return {name for name in sys.modules if name.startswith("_dodona_model_")}


def test_a_class_from_the_version_folder(tmp_path: Path) -> None:
    """It is built with the options, loaded with the folder, called with arrays and closed."""
    runtime = load(tmp_path, {"model.py": SUM, "offset.txt": "10"}, options={"scale": 2.0})
    assert runtime.predict({"x": np.array([[1.0, 2.0], [3.0, 4.0]])})["y"].tolist() == [16, 24]
    assert (runtime.device, runtime.text_inputs) == ("cpu", {"t"})
    closed = sys.modules[type(runtime._model).__module__].CLOSED
    runtime.close()
    assert len(closed) == 1


def test_two_models_may_use_one_module_name(tmp_path: Path) -> None:
    """Each version folder is a package of its own, so `model.py` and what it imports from beside it do not meet."""
    code = "from .constant import VALUE\nclass Model:\n    def load(self, folder): pass\n"
    code += "    def predict(self, inputs): return {'y': inputs['x'][:, 0] * 0 + VALUE}\n"
    before = private_modules()
    one = load(tmp_path / "1", {"model.py": code, "constant.py": "VALUE = 1.0"})
    two = load(tmp_path / "2", {"model.py": code, "constant.py": "VALUE = 2.0"})
    x = {"x": np.zeros((1, 2))}
    assert (one.predict(x)["y"].tolist(), two.predict(x)["y"].tolist()) == ([1], [2])
    one.close()
    assert two.predict(x)["y"].tolist() == [2]
    two.close()
    assert private_modules() == before


def test_loading_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """No bytecode is written beside the source: the folder's digests were checked."""
    load(tmp_path, {"model.py": SUM, "offset.txt": "0"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", "offset.txt"]


def test_a_class_from_the_environment(tmp_path: Path) -> None:
    """A module that is not in the folder is imported from the worker's environment."""
    runtime = PythonRuntime()
    with pytest.raises(BundleError, match="collections:OrderedDict cannot be loaded: AttributeError"):
        runtime.load(bundle(tmp_path, {}, framework="python", **{"class": "collections:OrderedDict"}, **TENSORS))


@pytest.mark.parametrize(
    ("code", "target", "text"),
    [
        ("", "", "'' names no class; write module:Class"),
        ("", "model:Model", "module model has no Model"),
        ("", "nowhere_at_all:Model", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "model:Model", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "model:Model", "cannot be loaded: SystemExit: 3"),
        ("def broken(:", "model:Model", "cannot be loaded: SyntaxError"),
        ("class Model: pass", "model:Model", "AttributeError.*predict"),
        ("class Model:\n  def predict(self, x): pass\n  def load(self): pass", "model:Model", "TypeError"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, code: str, target: str, text: str) -> None:
    """Whatever the user's module does at import or load ends in BundleError with its own type and words."""
    before = private_modules()
    with pytest.raises(BundleError, match=text):
        load(tmp_path, {"model.py": code}, target=target)
    assert private_modules() == before


def test_errors_of_ours_pass_unchanged(tmp_path: Path) -> None:
    """A class may raise Dodona's errors to choose the caller's status."""
    code = "from serving.errors import BundleError\nclass Model:\n  def predict(self, x): pass\n"
    code += "  def load(self, folder): raise BundleError('weights are for another version')"
    with pytest.raises(BundleError, match=r"^weights are for another version$"):
        load(tmp_path, {"model.py": code})


def test_a_result_that_is_no_dict_is_refused(tmp_path: Path) -> None:
    """The message says what predict must return."""
    code = "class Model:\n  def load(self, folder): pass\n  def predict(self, inputs): return [1]"
    runtime = load(tmp_path, {"model.py": code})
    with pytest.raises(TypeError, match="must return a dict of arrays, not list"):
        runtime.predict({})


def test_lists_become_arrays(tmp_path: Path) -> None:
    """What a model returns as a list is an array afterwards."""
    code = "class Model:\n  def load(self, folder): pass\n  def predict(self, inputs): return {'y': [1.0, 2.0]}"
    assert load(tmp_path, {"model.py": code}).predict({})["y"].dtype == np.float64


def test_predict_before_load_is_a_clear_error() -> None:
    """A runtime with nothing loaded says so."""
    with pytest.raises(RuntimeError, match="predict before load"):
        PythonRuntime().predict({})


def test_the_template_in_the_documentation_works(tmp_path: Path) -> None:
    """docs/reference/runtimes.md shows a model that loads and answers as it stands there."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "runtimes.md").read_text()
    section = page.split("## python")[1]
    settings = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    code = section.split("```python\n")[1].split("```")[0]
    np.save(tmp_path / "weights.npy", np.array([1.0, -1.0]))
    files = {"model.py": code, "vocabulary.py": "WORDS = (b'good', b'bad')"}
    runtime = PythonRuntime()
    signature = runtime.load(bundle(tmp_path, files, **settings))
    assert runtime.text_inputs == {signature.inputs[0].name}
    texts = np.array([b"a good one", b"a bad one", b"neither"], object)
    assert runtime.predict({"text": texts})["score"].tolist() == [1, -1, 0]
    runtime.close()
