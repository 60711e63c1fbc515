"""A user's own class, and the template for every other runtime.

The class comes from `class: module:Class` in model.yaml: a file or package in the version folder, else a module that
the worker's environment can import. It has

    load(folder: Path) -> None            once; `folder` is the version folder
    predict(inputs) -> dict[str, array]   `{name: array}` both ways; rows first where batching is on
    close() -> None                       optional
    device, text_inputs                   optional attributes, see serving.runtimes.base.Runtime

`options` of model.yaml are the keyword arguments of its constructor. The version folder is a package of its own with a
private name, so two models may both have a `model.py`, and modules beside it are imported as `from . import ...`.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from serving.bundle.bundle import Bundle
from serving.errors import BundleError, DodonaError
from serving.runtimes.base import Arrays, as_array
from serving.runtimes.signature import check_columns, declared_signature
from serving.spec import Signature


class PythonRuntime:
    def __init__(self, *, threads: int = 1) -> None:  # noqa: ARG002 - the protocol's; nothing here has threads
        self._package = ""
        self._model: Any = None
        self._predict: Callable[[Arrays], Mapping[str, Any]] | None = None

    @property
    def device(self) -> str:
        return str(getattr(self._model, "device", "cpu"))

    @property
    def text_inputs(self) -> frozenset[str]:
        return frozenset(getattr(self._model, "text_inputs", ()))

    def load(self, bundle: Bundle) -> Signature:
        """Raises BundleError: no class, a class without `load` and `predict`, or whatever it raises, by name."""
        signature = declared_signature(bundle.definition)
        check_columns(signature.inputs, "inputs")
        check_columns(signature.outputs, "outputs")
        try:
            cls = self._find(bundle)
            self._model = cls(**bundle.definition.options)
            self._predict = self._model.predict
            self._model.load(bundle.folder)
        except DodonaError:
            self._forget()
            raise
        except (Exception, SystemExit) as error:
            self._forget()
            said = str(error).replace(f"{bundle.folder}/", "")
            contract = "it must take `options` in its constructor and have load(folder) and predict(inputs)"
            raise BundleError(
                f"{bundle.definition.class_} cannot be loaded: {type(error).__name__}: {said}",
                field="model.yaml.class",
                remedy="put the files that it reads beside it" if isinstance(error, OSError) else contract,
            ) from error
        return signature

    def _find(self, bundle: Bundle) -> Callable[..., Any]:
        target = bundle.definition.class_
        module_name, _, class_name = target.partition(":")
        if not module_name or not class_name:
            raise BundleError(
                f"{target!r} names no class", field="model.yaml.class", remedy="write module:Class, say model:Model"
            )
        module = self._import(bundle, module_name)
        cls: Callable[..., Any] | None = getattr(module, class_name, None)
        if cls is None:
            raise BundleError(
                f"module {module_name} has no {class_name}",
                field="model.yaml.class",
                remedy="write module:Class with a class that is there",
            )
        return cls

    def _import(self, bundle: Bundle, name: str) -> ModuleType:
        # Bytecode beside the source would change a folder whose digests were checked.
        sys.dont_write_bytecode = True
        root = Path(bundle.folder, *name.split(".")[:1])
        if not (root.with_name(root.name + ".py").is_file() or root.is_dir()):
            return importlib.import_module(name)
        self._package = f"_dodona_model_{id(self):x}"
        package = ModuleType(self._package)
        package.__path__ = [str(bundle.folder)]
        sys.modules[self._package] = package
        importlib.invalidate_caches()
        return importlib.import_module(f"{self._package}.{name}")

    def predict(self, inputs: Arrays) -> Arrays:
        """Raises what the class raises; TypeError if it returns no mapping."""
        if self._predict is None:
            raise RuntimeError("predict before load")
        outputs = self._predict(inputs)
        if not isinstance(outputs, Mapping):
            raise TypeError(f"predict must return a dict of arrays, not {type(outputs).__name__}")
        return {name: as_array(value) for name, value in outputs.items()}

    def close(self) -> None:
        close = getattr(self._model, "close", None)
        self._forget()
        if close is not None:
            close()

    def _forget(self) -> None:
        self._model = self._predict = None
        if self._package:
            prefix = self._package + "."
            for name in [name for name in sys.modules if name == self._package or name.startswith(prefix)]:
                del sys.modules[name]
