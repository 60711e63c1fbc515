"""Frameworks import more than a worker needs of them.

`import xgboost` takes scikit-learn, pandas and pyarrow with it, for an interface that a worker never calls: 1.2 to
1.4 s of CPU and 189 MB, against 0.3 s and 59 MB without. XGBoost is made to work where they are not installed, and
that is what it sees here. Only for worker processes: in a user's own process the import must stay whole.
"""

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, cast

_UNUSED: Final = {"xgboost": ("sklearn", "pandas")}


def import_lean(framework: str) -> None:
    """Import the framework's package without what it does not need, if it has such parts and is not imported yet. What
    goes wrong is left to the runtime, which imports again."""
    if framework not in _UNUSED or framework in sys.modules:
        return
    modules = cast("dict[str, Any]", sys.modules)
    hidden = [name for name in _UNUSED[framework] if name not in modules]
    modules.update(dict.fromkeys(hidden))  # a module that is None raises ModuleNotFoundError
    try:
        with suppress(Exception):
            import_module(framework)
    finally:
        for name in hidden:
            modules.pop(name, None)
