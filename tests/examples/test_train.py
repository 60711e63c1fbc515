"""The example models: good enough to show, packed as they should be."""

import csv
from pathlib import Path

import pytest

from examples.train import main, publish, trainings
from serving.bundle.definition import read_definition


@pytest.mark.parametrize("name", ["breast-cancer", "digits", "wine"])
def test_each_model_is_good_and_packs(name: str, tmp_path: Path) -> None:
    """Accuracy is above what the demo asks for, and bundle and held-out rows are written."""
    trained = trainings(tmp_path)[name]()
    assert trained.accuracy >= trained.least_accuracy
    packed = publish(trained, tmp_path / "models", tmp_path / "work")
    assert packed.golden_rows == 16
    definition = read_definition(tmp_path / "models" / name / "model.yaml")
    assert definition.framework == trained.framework
    assert definition.inputs[0].columns == trained.columns
    assert definition.inputs[0].allow_nan is (name == "breast-cancer")  # XGBoost takes missing values on purpose
    with (tmp_path / "work" / name / "rows.csv").open() as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == trained.columns
    assert [[float(value) for value in row] for row in rows] == trained.rows.tolist()
    with (tmp_path / "work" / name / "answers.csv").open() as file:
        _, *answers = csv.reader(file)
    assert [tuple(answer) for answer in answers] == list(zip(trained.truth, trained.said, strict=True))


def test_training_is_repeatable(tmp_path: Path) -> None:
    """The same seed gives the same rows and the same answers."""
    first, second = (trainings(tmp_path)["wine"]() for _ in range(2))
    assert first.rows.tolist() == second.rows.tolist()
    assert first.said == second.said


def test_the_command_packs_what_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One model by name; an unknown name says what there is."""
    places = ["--repository", str(tmp_path / "models"), "--work", str(tmp_path / "work")]
    assert main(["wine", *places]) == 0
    assert [folder.name for folder in (tmp_path / "models").iterdir() if not folder.name.startswith(".")] == ["wine"]
    assert "next: dodona up" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["beer", *places])
    assert "there are breast-cancer, digits, wine" in capsys.readouterr().err
