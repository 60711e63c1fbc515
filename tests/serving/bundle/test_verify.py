import shutil
from pathlib import Path

import orjson
import pytest

from serving.bundle.pack import pack
from serving.bundle.verify import Outcome, VerifyReport, verify
from tests.serving.bundle.makers import EXAMPLES, doubling_model, pack_echo, write_triton


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two versions of a model that doubles."""
    for _ in range(2):
        packed = pack(doubling_model(), name="twice", repository=tmp_path, golden_inputs=EXAMPLES)
    return packed.folder.parent


def outcomes(report: VerifyReport) -> dict[str, str]:
    return {check.name: check.outcome.value for check in report.checks}


def text(report: VerifyReport, name: str) -> str:
    return next(check.text for check in report.checks if check.name == name)


def test_a_sound_version_passes_every_check(model: Path) -> None:
    """The newest one if none is named; every check says what it found."""
    report = verify(model)
    assert report.ok
    assert str(report.spec) == "twice/2"
    assert set(outcomes(report).values()) == {"ok"}
    assert text(report, "definition") == "Dodona's layout, framework onnx, versions 1, 2"
    assert text(report, "signature") == "x FP32[3] -> y FP32[3]"
    assert text(report, "golden") == "4 examples within tolerance"
    assert text(report, "libraries") == "as at packing"
    assert str(verify(model, "1").spec) == "twice/1"


def test_the_first_fault_is_told_and_what_depends_on_it_is_skipped(model: Path) -> None:
    """A damaged file is not opened."""
    (model / "2" / "model.onnx").write_bytes(b"\0" * (model / "2" / "model.onnx").stat().st_size)
    report = verify(model)
    assert not report.ok
    assert outcomes(report) == {
        "definition": "ok",
        "digests": "failed",
        "libraries": "skipped",
        "runtime": "skipped",
        "load": "skipped",
        "signature": "skipped",
        "golden": "skipped",
    }
    assert text(report, "digests").startswith("model.onnx: digest differs")
    assert verify(model, "1").ok


def test_other_answers_than_the_golden_ones_are_told_by_row(model: Path, tmp_path: Path) -> None:
    """A bundle whose digests are right may still answer wrongly: its model was swapped before the manifest was made."""
    other = pack(doubling_model(factor=3), name="thrice", repository=tmp_path, golden_inputs=EXAMPLES).folder
    manifests = [orjson.loads((folder / "MANIFEST.json").read_bytes()) for folder in (model / "2", other)]
    manifests[0]["files"]["model.onnx"] = manifests[1]["files"]["model.onnx"]
    shutil.copy(other / "model.onnx", model / "2" / "model.onnx")
    (model / "2" / "MANIFEST.json").write_bytes(orjson.dumps(manifests[0]))
    report = verify(model)
    assert outcomes(report)["golden"] == "failed"
    assert "row 0: output y[1] is 3, expected 2 (tolerance 1e-05 + 0.0001 x |expected|); 4 of 4" in text(
        report, "golden"
    )


def test_another_signature_than_at_packing_is_told(model: Path) -> None:
    """The manifest says what callers were promised."""
    manifest = orjson.loads((model / "2" / "MANIFEST.json").read_bytes())
    manifest["signature"]["outputs"][0]["shape"] = [4]
    manifest["libraries"] = {"onnxruntime": "0.1", "nosuch": "1"}
    (model / "2" / "MANIFEST.json").write_bytes(orjson.dumps(manifest))
    report = verify(model)
    assert "y was ('FP32', (-1, 4)) at packing, is ('FP32', (-1, 3)) now" in text(report, "signature")
    assert text(report, "libraries").startswith("nosuch 1 at packing, none here; onnxruntime 0.1 at packing,")


def test_batching_may_be_turned_off_after_packing(model: Path) -> None:
    """Callers see the same shapes, so the signature still holds."""
    path = model / "model.yaml"
    path.write_text(path.read_text() + "batching: {enabled: false}\n")
    assert outcomes(verify(model))["signature"] == "ok"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("name: twice\nframework: onnx\ncolour: red", "model.yaml.colour"),
        ("name: other\nframework: onnx", "is 'other'"),
    ],
)
def test_a_wrong_definition_is_the_first_check(model: Path, definition: str, expected: str) -> None:
    """Nothing else can be said then."""
    (model / "model.yaml").write_text(definition)
    report = verify(model)
    assert outcomes(report)["definition"] == "failed"
    assert expected in text(report, "definition")
    assert list(outcomes(report).values()).count("skipped") == 6


def test_a_model_that_raises_is_a_failed_check(tmp_path: Path) -> None:
    """Whatever a model does, the report is made."""
    packed = pack_echo(tmp_path)
    path = packed.folder.parent / "model.yaml"
    path.write_text(path.read_text() + "options: {fail_on: 5.0}\n")
    report = verify(tmp_path / "pets")
    assert "the model raised ValueError" in text(report, "golden")


def test_an_empty_or_missing_model_is_reported(tmp_path: Path) -> None:
    """No version yet, or no folder."""
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "model.yaml").write_text("name: pets\nframework: echo\n")
    assert "there is no version yet" in text(verify(tmp_path / "pets"), "definition")
    assert not verify(tmp_path / "nothing").ok
    assert not verify(tmp_path / "pets", "7").ok


def test_what_is_not_there_is_skipped_not_failed(tmp_path: Path) -> None:
    """Triton's layout has no manifest and no golden examples."""
    report = verify(write_triton(tmp_path, "twice", ""))
    assert report.ok
    assert outcomes(report)["golden"] == Outcome.SKIPPED
    assert "Triton's layout" in text(report, "definition")
    assert "without MANIFEST.json" in text(report, "libraries")
