"""`verify`: one version put through all that a worker does before it serves it, every step reported."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from serving.bundle.bundle import Bundle
from serving.bundle.check import read_manifest
from serving.bundle.compare import check_golden
from serving.bundle.layout import GOLDEN_FILE, MANIFEST_FILE
from serving.bundle.manifest import Manifest, parse_manifest
from serving.bundle.model import read_model
from serving.bundle.open import open_bundle
from serving.bundle.packing import installed
from serving.bundle.store import read, store_for
from serving.errors import BundleError, DodonaError
from serving.runtimes.base import Runtime
from serving.runtimes.registry import create
from serving.spec import ModelSpec, Signature

T = TypeVar("T")
_CHECKS: Final = ("definition", "digests", "libraries", "runtime", "load", "signature", "golden")


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Nothing to check, or a check before it failed."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    spec: ModelSpec
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome is not Outcome.FAILED for check in self.checks)


def verify(model_folder: str | Path, version: str | None = None, *, cache: Path | None = None) -> VerifyReport:
    """Checks named definition, digests, libraries, runtime, load, signature and golden, in this order. `version`
    None = the newest. Never raises for a fault of the bundle: that is what the report says."""
    return _Verification(str(model_folder), version, cache).report()


class _Fault(Exception):
    """A check failed; those after it have nothing to stand on."""


class _Verification:
    def __init__(self, model_folder: str, version: str | None, cache: Path | None) -> None:
        self._model_folder = model_folder
        self._cache = cache
        self._spec = ModelSpec(store_for(model_folder).name, version or "")
        self._checks: list[Check] = []

    def report(self) -> VerifyReport:
        try:
            self._spec = self._step("definition", self._definition)
            self._check_bundle(self._step("digests", self._open))
        except _Fault:
            done = {check.name for check in self._checks}
            for name in _CHECKS:
                if name not in done:
                    self._note(name, Outcome.SKIPPED, "a check before it failed")
        return VerifyReport(self._spec, tuple(self._checks))

    def _check_bundle(self, bundle: Bundle) -> None:
        manifest = self._step("libraries", lambda: _libraries(bundle))
        runtime = self._step("runtime", lambda: _runtime(bundle))
        try:
            signature = self._step("load", lambda: _loaded(runtime, bundle))
            self._step("signature", lambda: _signature(signature, manifest))
            if (bundle.folder / GOLDEN_FILE).exists():
                self._step("golden", lambda: _golden(bundle, runtime, signature))
            else:
                self._note("golden", Outcome.SKIPPED, "none: pack with golden inputs")
        finally:
            runtime.close()

    def _note(self, name: str, outcome: Outcome, text: str) -> None:
        self._checks.append(Check(name, outcome, text))

    def _step(self, name: str, check: Callable[[], tuple[T, str]]) -> T:
        """What `check` found, with its text in the report. Raises _Fault."""
        try:
            found, text = check()
        except Exception as error:  # a model may raise anything
            text = str(error) if isinstance(error, DodonaError) else f"{type(error).__name__}: {error}"
            self._note(name, Outcome.FAILED, text)
            raise _Fault from error
        self._note(name, Outcome.OK, text)
        return found

    def _definition(self) -> tuple[ModelSpec, str]:
        store = store_for(self._model_folder)
        folder = store.folder()
        model = read_model(store.name, folder, partial(read, store))
        versions = model.versions(folder)
        if not versions:
            raise BundleError("there is no version yet", field=store.name, remedy="publish one with dodona pack")
        layout = "Dodona's" if model.packed else "Triton's"
        text = f"{layout} layout, framework {model.definition.framework}, versions {', '.join(versions)}"
        return ModelSpec(store.name, self._spec.version or versions[-1]), text

    def _open(self) -> tuple[Bundle, str]:
        bundle = open_bundle(self._model_folder, self._spec.version, cache=self._cache)
        return bundle, f"every file is as published, bundle {bundle.digest[:12]}"


def _libraries(bundle: Bundle) -> tuple[Manifest | None, str]:
    """Other versions than at packing are worth knowing, and no fault: the golden examples are the proof."""
    if not (bundle.folder / MANIFEST_FILE).exists():
        return None, f"not known without {MANIFEST_FILE}"
    manifest = parse_manifest(read_manifest(bundle.folder))
    here = installed(tuple(manifest.libraries))
    other = [
        f"{name} {version} at packing, {here.get(name, 'none')} here"
        for name, version in sorted(manifest.libraries.items())
        if here.get(name) != version
    ]
    return manifest, "; ".join(other) or "as at packing"


def _runtime(bundle: Bundle) -> tuple[Runtime, str]:
    return create(bundle.definition.framework), bundle.definition.framework


def _loaded(runtime: Runtime, bundle: Bundle) -> tuple[Signature, str]:
    return runtime.load(bundle), f"on {runtime.device}"


def _signature(signature: Signature, manifest: Manifest | None) -> tuple[None, str]:
    """Shapes as callers see them, so that batching may be turned off and on in model.yaml; outputs may be fewer."""
    text = f"{', '.join(map(str, signature.inputs))} -> {', '.join(map(str, signature.outputs))}"
    if manifest is None:
        return None, text
    packed = manifest.signature.signature()
    before = {tensor.name: (tensor.datatype, packed.wire_shape(tensor)) for tensor in (*packed.inputs, *packed.outputs)}
    for tensor in (*signature.inputs, *signature.outputs):
        now = (tensor.datatype, signature.wire_shape(tensor))
        if before.get(tensor.name) != now:
            raise BundleError(
                f"{tensor.name} was {before.get(tensor.name, 'not there')} at packing, is {now} now",
                field="signature",
                remedy="publish again with dodona pack",
            )
    return None, text


def _golden(bundle: Bundle, runtime: Runtime, signature: Signature) -> tuple[int, str]:
    rows = check_golden(bundle, runtime, signature)
    return rows, f"{rows} examples within tolerance"
