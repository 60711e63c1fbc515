import subprocess
import sys

from serving.worker.imports import import_lean


def fresh(code: str) -> str:
    """Output of a new interpreter."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return result.stdout.strip()


def test_xgboost_comes_without_what_a_worker_does_not_use() -> None:
    """Neither scikit-learn nor pandas is imported with it, and both can be imported afterwards."""
    code = (
        "import sys; from serving.worker.imports import import_lean; import_lean('xgboost');"
        "print('xgboost' in sys.modules, {'sklearn', 'pandas'} & set(sys.modules));"
        "import pandas, sklearn; print(pandas.__name__, sklearn.__name__)"
    )
    assert fresh(code) == "True set()\npandas sklearn"


def test_what_is_imported_already_stays() -> None:
    """Modules that someone uses are not touched, nor is a framework that is there already."""
    code = (
        "import sys, pandas; from serving.worker.imports import import_lean; import_lean('xgboost');"
        "print(sys.modules['pandas'] is pandas)"
    )
    assert fresh(code) == "True"
    import xgboost

    before = dict(sys.modules)
    import_lean("xgboost")
    assert sys.modules["xgboost"] is xgboost
    assert sys.modules.keys() == before.keys()


def test_other_frameworks_are_left_alone() -> None:
    """Nothing is known to be superfluous there, and what is not installed is the runtime's to report."""
    before = set(sys.modules)
    import_lean("echo")
    assert set(sys.modules) == before
    code = (
        "import sys; sys.modules['scipy'] = None; from serving.worker.imports import import_lean;"
        "import_lean('xgboost'); print('xgboost' in sys.modules, 'sklearn' in sys.modules)"
    )
    assert fresh(code) == "False False"
