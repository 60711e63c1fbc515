from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.definition import TensorDefinition
from serving.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    IncompleteBundle,
    Manifest,
    SignatureEntry,
    digest_of,
    parse_manifest,
    what_is_missing,
)
from serving.errors import BundleError
from serving.spec import NUMPY_DTYPES

SHA = "0" * 64
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text("abcdefgh.-_ ", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(lambda path: path != "MANIFEST.json")
floats = st.floats(allow_nan=False, allow_infinity=False)
tensors = st.builds(
    TensorDefinition,
    name=texts.filter(bool),
    datatype=st.sampled_from(sorted(NUMPY_DTYPES)),
    shape=st.lists(st.integers(-1, 9), max_size=3).map(tuple),
    labels=st.lists(texts, max_size=2).map(tuple),
)
manifests = st.builds(
    Manifest,
    created=st.datetimes(timezones=st.just(UTC)),
    framework=st.sampled_from(["onnx", "xgboost", "python", "echo"]),
    interpreter=texts,
    libraries=st.dictionaries(texts, texts, max_size=3),
    signature=st.builds(
        SignatureEntry,
        inputs=st.lists(tensors, max_size=2).map(tuple),
        outputs=st.lists(tensors, max_size=2).map(tuple),
        batched=st.booleans(),
    ),
    metrics=st.dictionaries(texts, floats, max_size=3),
    training=st.dictionaries(
        texts, st.one_of(texts, st.booleans(), st.none(), floats, st.integers(-(2**63), 2**63 - 1)), max_size=3
    ),
    golden_rows=st.integers(0, 10**6),
    files=st.dictionaries(
        paths, st.builds(FileEntry, sha256=st.just(SHA), bytes=st.integers(0, 2**63 - 1)), max_size=4
    ),
)


def manifest(**files: int) -> Manifest:
    entries = {path: FileEntry(sha256=SHA, bytes=size) for path, size in files.items()}
    return Manifest(created=datetime(2024, 5, 1, tzinfo=UTC), framework="onnx", files=entries)


@settings(deadline=None)
@given(manifests)
def test_any_manifest_reads_back_the_same_from_canonical_bytes(written: Manifest) -> None:
    """Writing and reading lose nothing, and the same manifest always has the same bytes and digest."""
    raw = written.to_bytes()
    read = parse_manifest(raw)
    assert read == written
    assert read.to_bytes() == raw
    assert digest_of(raw) == digest_of(read.to_bytes())


@settings(deadline=None)
@given(manifests, st.data())
def test_a_manifest_cut_anywhere_is_incomplete_or_wrong_never_accepted(written: Manifest, data: st.DataObject) -> None:
    """A copy under way is never taken for the whole."""
    raw = written.to_bytes()
    cut = data.draw(st.integers(0, len(raw.rstrip()) - 1))
    with pytest.raises(BundleError):
        parse_manifest(raw[:cut])


def test_an_empty_or_zeroed_manifest_is_incomplete() -> None:
    """Copy tools may create or preallocate a file before its bytes arrive."""
    for raw in (b"", b"\0" * 100, b'{"files": {'):
        with pytest.raises(IncompleteBundle, match="ends early"):
            parse_manifest(raw)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format_version": 2}, "has format 2, this Dodona reads up to 1; upgrade"),
        ({"format_version": "one"}, "MANIFEST.json.format_version"),
        ({"fraemwork": "onnx"}, "did you mean 'framework'"),
        ({"created": "2024-05-01T00:00:00"}, "MANIFEST.json.created"),
        ({"metrics": {"accuracy": None}}, "MANIFEST.json.metrics.accuracy"),
        ({"files": {"../x": {"sha256": SHA, "bytes": 1}}}, "must be a relative path"),
        ({"files": {"/x": {"sha256": SHA, "bytes": 1}}}, "must be a relative path"),
        ({"files": {"MANIFEST.json": {"sha256": SHA, "bytes": 1}}}, "cannot list itself"),
        ({"files": {"x": {"sha256": "ABC", "bytes": 1}}}, "MANIFEST.json.files.x.sha256"),
        ({"files": {"x": {"sha256": SHA, "bytes": -1}}}, "MANIFEST.json.files.x.bytes"),
        ({"files": {"x": {"sha256": SHA}}}, "MANIFEST.json.files.x.bytes"),
    ],
)
def test_wrong_manifests_are_refused_by_key(change: dict[str, object], expected: str) -> None:
    """Every wrong key or value is named by its path."""
    values = orjson.loads(manifest(x=1).to_bytes()) | change
    with pytest.raises(BundleError) as caught:
        parse_manifest(orjson.dumps(values))
    assert expected in str(caught.value)
    assert not isinstance(caught.value, IncompleteBundle)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{oops}", "not valid JSON"),
        (b'"x}', "not valid JSON"),
        (b"[" * 100_000 + b"}", "not valid JSON"),
        (b"[{}]}"[:4] + b"}", "not valid JSON"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "has more than"),
    ],
)
def test_texts_that_are_no_manifest_are_refused(raw: bytes, expected: str) -> None:
    """Broken, deeply nested or huge text is an error, never a crash."""
    with pytest.raises(BundleError, match=expected):
        parse_manifest(raw)


def test_what_is_missing_names_the_file_and_how_far_it_is() -> None:
    """Missing and short files are told apart from whole ones; unknown sizes are given the benefit of the doubt."""
    whole = manifest(a=5, b=4096)
    assert what_is_missing(whole, {"a": 5, "b": 120}) == "b has 120 of 4096 bytes so far"
    assert what_is_missing(whole, {"a": 5}) == "b is missing, 0 of 4096 bytes so far"
    assert what_is_missing(whole, {"a": 5, "b": 4096, "other": 1}) == ""
    assert what_is_missing(whole, {"a": -1, "b": -1}) == ""


def test_what_a_half_copy_lacks_is_counted() -> None:
    """The first file by name and size, and how many more."""
    files = {name: {"sha256": SHA, "bytes": 10} for name in ("a", "b", "c")}
    raw = {"created": "2024-05-01T00:00:00Z", "framework": "onnx", "files": files}
    manifest = Manifest.model_validate(raw)
    assert what_is_missing(manifest, {"a": 10, "b": 10, "c": 10}) == ""
    assert what_is_missing(manifest, {"a": 10, "b": 4, "c": -1}) == "b has 4 of 10 bytes so far"
    assert what_is_missing(manifest, {"a": 10, "b": 4}) == "b has 4 of 10 bytes so far, and 1 more file is not complete"
    assert what_is_missing(manifest, {}) == "a is missing, 0 of 10 bytes so far, and 2 more files are not complete"
