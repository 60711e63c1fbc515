"""MANIFEST.json: what a version folder holds, byte for byte, and where it came from.

The manifest is written last and canonical (sorted keys), so its presence means that the bundle is whole and its own
sha256, the bundle's digest, names the content.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import orjson
from pydantic import AfterValidator, AwareDatetime, Field, FiniteFloat, StringConstraints, field_validator

from serving.bundle.definition import Framework, TensorDefinition
from serving.bundle.layout import MANIFEST_FILE, safe_path
from serving.errors import BundleError
from serving.settings import Settings, validate
from serving.spec import Signature, TensorSpec

MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024
MAX_FILES: Final = 10_000
_FORMAT: Final = 1
_AGAIN: Final = "publish the version again with dodona pack"

FilePath = Annotated[str, AfterValidator(safe_path)]
Plain = Annotated[int, Field(ge=-(2**63), lt=2**63)] | FiniteFloat | bool | str | None


class IncompleteBundle(BundleError):
    """Part of a version is not there yet, as while it is being copied: try again when something changed."""


class FileEntry(Settings):
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    """Digest of the content, in hexadecimal."""
    bytes: Annotated[int, Field(ge=0, lt=2**63)]
    """Size."""


class SignatureEntry(Settings):
    inputs: tuple[TensorDefinition, ...] = ()
    outputs: tuple[TensorDefinition, ...] = ()
    batched: bool = True

    @classmethod
    def of(cls, signature: Signature) -> "SignatureEntry":
        return cls(
            inputs=tuple(map(_tensor, signature.inputs)),
            outputs=tuple(map(_tensor, signature.outputs)),
            batched=signature.batched,
        )

    def signature(self) -> Signature:
        return Signature(
            tuple(tensor.spec() for tensor in self.inputs),
            tuple(tensor.spec() for tensor in self.outputs),
            self.batched,
        )


def _tensor(spec: TensorSpec) -> TensorDefinition:
    return TensorDefinition(
        name=spec.name,
        datatype=spec.datatype,
        shape=spec.shape,
        columns=spec.columns,
        labels=spec.labels,
        allow_nan=spec.allow_nan,
    )


class Manifest(Settings):
    format_version: Literal[1] = _FORMAT
    created: AwareDatetime
    """When it was packed, with time zone."""
    framework: Framework
    """The worker that runs it."""
    interpreter: str = ""
    """The Python that packed it: "CPython 3.11.7"."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Distribution -> version at packing time."""
    signature: SignatureEntry = SignatureEntry()
    """Inputs and outputs as the runtime saw them at packing time."""
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Figures of the training: {accuracy: 0.97}."""
    training: dict[str, Plain] = Field(default_factory=dict)
    """Anything that names the training run: {run: "2024-05-01-a", commit: "1f3c..."}."""
    golden_rows: Annotated[int, Field(ge=0)] = 0
    """Rows in golden.parquet."""
    files: Annotated[dict[FilePath, FileEntry], Field(max_length=MAX_FILES)]
    """Every file of the version folder but this one, by its path with / between names."""

    @field_validator("files")
    @classmethod
    def _not_itself(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        if MANIFEST_FILE in files:
            raise ValueError(f"{MANIFEST_FILE} cannot list itself")
        return files

    def to_bytes(self) -> bytes:
        """The canonical text: the same manifest always gives the same bytes."""
        return orjson.dumps(
            self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )


def digest_of(raw: bytes) -> str:
    """The bundle's digest: sha256 of its MANIFEST.json, in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def parse_manifest(raw: bytes) -> Manifest:
    """Raises IncompleteBundle if the text ends early, BundleError if it is wrong, naming the key."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(f"has more than {MAX_MANIFEST_BYTES} bytes", field=MANIFEST_FILE, remedy=_AGAIN)
    if not raw.rstrip().endswith(b"}"):
        raise IncompleteBundle(f"ends early, after {len(raw)} bytes", field=MANIFEST_FILE, remedy="wait for the copy")
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BundleError(f"not valid JSON: {error}", field=MANIFEST_FILE, remedy=_AGAIN) from None
    if not isinstance(values, Mapping):
        raise BundleError("must be a JSON object", field=MANIFEST_FILE, remedy=_AGAIN)
    written_in = values.get("format_version")
    if isinstance(written_in, int) and written_in > _FORMAT:
        raise BundleError(
            f"has format {written_in}, this Dodona reads up to {_FORMAT}",
            field=MANIFEST_FILE,
            remedy="upgrade Dodona, or pack the model with this release",
        )
    return validate(Manifest, values, where=MANIFEST_FILE, error=BundleError)


def what_is_missing(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    """What a version still lacks, "" if nothing; `sizes` in bytes by path, -1 where not known."""
    faults = []
    for path, entry in manifest.files.items():
        size = sizes.get(path)
        if size is None:
            faults.append(f"{path} is missing, 0 of {entry.bytes} bytes so far")
        elif 0 <= size < entry.bytes:
            faults.append(f"{path} has {size} of {entry.bytes} bytes so far")
    if len(faults) < 2:
        return "".join(faults)
    return f"{faults[0]}, and {len(faults) - 1} more {'file is' if len(faults) == 2 else 'files are'} not complete"
