"""Runtimes by framework name, imported when first asked for: a worker never imports a framework it does not run."""

from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from serving.errors import BundleError
from serving.runtimes.base import Runtime

_TARGETS: Final = {
    "onnx": "serving.runtimes.onnx:OnnxRuntime",
    "xgboost": "serving.runtimes.xgboost:XgboostRuntime",
    "python": "serving.runtimes.python:PythonRuntime",
    "echo": "serving.runtimes.echo:EchoRuntime",
}


def frameworks() -> tuple[str, ...]:
    return tuple(sorted(_TARGETS))


def create(framework: str, *, threads: int = 1) -> Runtime:
    """A runtime with nothing loaded. `threads`: how many one run may use where model.yaml does not say.

    Raises BundleError: no such framework.
    """
    target = _TARGETS.get(framework)
    if target is None:
        raise BundleError(
            f"no runtime for framework {framework!r}",
            field="model.yaml.framework",
            remedy=f"use one of {', '.join(frameworks())}",
        )
    module, _, name = target.partition(":")
    factory = cast("Callable[..., Runtime]", getattr(import_module(module), name))
    return factory(threads=threads)


def missing_package(framework: str, package: str, error: ImportError) -> BundleError:
    """What a runtime raises when its framework cannot be imported."""
    return BundleError(
        f"framework {framework} needs the package {package}, which cannot be imported ({error})",
        field="model.yaml.framework",
        remedy="install dodona[cpu] or dodona[gpu] in the worker's environment",
    )
