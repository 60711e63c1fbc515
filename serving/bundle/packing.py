"""The steps of packing: write aside, load, answer the examples, seal with a manifest, publish."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle.aside import aside
from serving.bundle.bundle import Bundle
from serving.bundle.check import file_digest
from serving.bundle.compare import run_golden
from serving.bundle.definition import ModelDefinition, definition_text
from serving.bundle.describe import Description, annotated, described, existing_definition
from serving.bundle.examples import check_live, columns_of, input_arrays, tolerances
from serving.bundle.golden import Golden, Tolerance
from serving.bundle.golden_file import write_golden
from serving.bundle.layout import DEFINITION_FILE, GOLDEN_FILE, MANIFEST_FILE, PUBLISHING_PREFIX
from serving.bundle.manifest import Manifest, Plain, SignatureEntry, digest_of
from serving.bundle.publish import definition_bytes, publication, taken
from serving.bundle.sources.files import copied_names
from serving.bundle.sources.frames import spread_rows
from serving.bundle.sources.source import Source
from serving.errors import BundleError
from serving.runtimes.base import Runtime
from serving.runtimes.registry import create
from serving.settings import validate
from serving.spec import ModelSpec, Signature, next_version


@dataclass(frozen=True, slots=True)
class Packed:
    """What was published. `folder` is the version's."""

    spec: ModelSpec
    folder: Path
    digest: str
    signature: Signature
    golden_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What goes with a model into its version folder; see `pack` for each."""

    golden_inputs: Any = None
    golden_rows: int = 32
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None
    metrics: Mapping[str, float] | None = None
    training: Mapping[str, Plain] | None = None


class Packing:
    """The parts of one `pack` call that do not change between attempts to publish."""

    def __init__(
        self,
        source: Source,
        root: Path,
        *,
        name: str,
        description: Description,
        evidence: Evidence,
        now: datetime,
    ) -> None:
        self._source = source
        self._root = root
        self._name = name
        self._description = description
        self._evidence = evidence
        self._now = now

    def publish(self, version: str | None) -> Packed:
        target = self._root / self._name
        if version is None:
            version = next_version(path.name for path in target.iterdir()) if target.is_dir() else "1"
        spec = ModelSpec(self._name, version)
        if (target / version).exists():
            raise taken(spec)
        before = definition_bytes(self._root, self._name)
        existing = existing_definition(target)
        definition = described(self._name, self._source.framework, existing, self._description)
        with aside(self._root, f"{PUBLISHING_PREFIX}{self._name}-") as staged:
            packed = self._write(staged, spec, definition, existing)
            for _ in publication(staged, self._root, spec, before):
                pass
        return packed

    def _write(
        self, staged: Path, spec: ModelSpec, definition: ModelDefinition, existing: ModelDefinition | None
    ) -> Packed:
        folder = staged / spec.version
        folder.mkdir()
        self._source.write(folder, definition.file)
        files = copied_names(folder)
        definition, signature, golden = self._proved(folder, spec, definition, new=existing is None)
        if golden is not None:
            write_golden(folder / GOLDEN_FILE, golden)
            files.append(GOLDEN_FILE)
        rows = golden.rows if golden is not None else 0
        raw = self._manifest(folder, files, signature, rows).to_bytes()
        (folder / MANIFEST_FILE).write_bytes(raw)
        if definition != existing:
            (staged / DEFINITION_FILE).write_text(definition_text(definition), encoding="utf-8")
        return Packed(spec, self._root / spec.name / spec.version, digest_of(raw), signature, rows)

    def _proved(
        self, folder: Path, spec: ModelSpec, definition: ModelDefinition, *, new: bool
    ) -> tuple[ModelDefinition, Signature, Golden | None]:
        """The final definition, what the runtime says with it, and the golden examples it answered."""
        with _loaded(Bundle(spec, definition, folder, "")) as (runtime, signature):
            no_nan = self._no_nan(signature) if new and not definition.inputs else ()
            final = annotated(definition, signature, self._with_columns(signature), no_nan)
            if final == definition:
                return final, signature, self._golden(runtime, signature, final)
        with _loaded(Bundle(spec, final, folder, "")) as (runtime, signature):
            return final, signature, self._golden(runtime, signature, final)

    def _no_nan(self, signature: Signature) -> frozenset[str]:
        """Inputs of a new model that nobody described, in which a missing value is more likely a mistake: it would
        come out as an answer that looks like any other. Examples with a missing value say that it is none."""
        if self._source.takes_nan:
            return frozenset()
        floats = {tensor.name for tensor in signature.inputs if tensor.datatype in ("FP16", "FP32", "FP64", "BF16")}
        if self._evidence.golden_inputs is not None:
            examples = input_arrays(self._evidence.golden_inputs, signature)
            floats -= {name for name, array in examples.items() if array.dtype.kind == "f" and np.isnan(array).any()}
        return frozenset(floats)

    def _with_columns(self, signature: Signature) -> Description:
        """A frame of examples names the columns where neither the caller nor the model does."""
        given = self._description
        if given.columns or any(tensor.columns for tensor in signature.inputs):
            return given
        return replace(given, columns=columns_of(self._evidence.golden_inputs, signature))

    def _golden(self, runtime: Runtime, signature: Signature, definition: ModelDefinition) -> Golden | None:
        evidence = self._evidence
        if evidence.golden_inputs is None:
            return None
        examples = spread_rows(evidence.golden_inputs, evidence.golden_rows)
        inputs = input_arrays(examples, signature)
        tensors = (*signature.inputs, *signature.outputs)
        datatypes = {tensor.name: "BF16" for tensor in tensors if tensor.datatype == "BF16"}
        asked = Golden(inputs, {}, {}, datatypes)
        expected = run_golden(runtime, signature, asked, definition.batching.max_batch_rows)
        golden = Golden(inputs, expected, tolerances(evidence.tolerance, signature), datatypes)
        if self._source.live is not None:
            check_live(golden, self._source.live(examples))
        return golden

    def _manifest(self, folder: Path, files: list[str], signature: Signature, golden_rows: int) -> Manifest:
        files_there = {
            path: {"sha256": file_digest(folder / path), "bytes": (folder / path).stat().st_size} for path in files
        }
        values = {
            "created": self._now,
            "framework": self._source.framework,
            "interpreter": f"{platform.python_implementation()} {platform.python_version()}",
            "libraries": installed(self._source.libraries),
            "signature": SignatureEntry.of(signature),
            "metrics": self._evidence.metrics or {},
            "training": self._evidence.training or {},
            "golden_rows": golden_rows,
            "files": files_there,
        }
        return validate(Manifest, values, where=MANIFEST_FILE, error=BundleError)


@contextmanager
def _loaded(bundle: Bundle) -> Iterator[tuple[Runtime, Signature]]:
    runtime = create(bundle.definition.framework)
    try:
        yield runtime, runtime.load(bundle)
    except BundleError as error:
        # The hidden folder that it was loaded from is ours, and gone by the time anyone reads this.
        text = error.message.replace(f"{bundle.folder}/", "")
        raise BundleError(text, field=error.field, remedy=error.remedy) from error
    finally:
        runtime.close()


def installed(distributions: tuple[str, ...]) -> dict[str, str]:
    """Versions of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = installed_version(name)
        except PackageNotFoundError:
            continue
    return found
