"""What the demo holds against an answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from examples.calls import Asked
from examples.train import Trained, trainings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder: Path = tmp_path_factory.mktemp("wine")
    return trainings(folder)["wine"]()


def asked(trained: Trained) -> Asked:
    return Asked(trained, "1", "gRPC", trained.said[0], 0.001, trained.said)


def test_right_answers_have_no_faults(trained: Trained) -> None:
    """What the model in memory says, row by row, is right."""
    assert asked(trained).faults() == []
    assert asked(trained).accuracy == trained.accuracy


def test_a_wrong_answer_is_named_by_row(trained: Trained) -> None:
    """One differing row is enough, and is shown with both answers."""
    answers = (*trained.said[:3], "vinegar", *trained.said[4:])
    (fault,) = replace(asked(trained), answers=answers).faults()
    assert f"1 of {len(answers)} answers differ" in fault
    assert f"row 3: expected {trained.said[3]}, got vinegar" in fault


def test_a_row_alone_must_be_answered_as_in_a_batch(trained: Trained) -> None:
    """A single request and the same row among others agree."""
    (fault,) = replace(asked(trained), answer="vinegar").faults()
    assert "row 0 alone is answered vinegar" in fault


def test_low_accuracy_is_a_fault(trained: Trained) -> None:
    """A model that answers as it did when packed may still be a bad one."""
    lazy = replace(trained, said=("cultivar 1",) * len(trained.truth))
    (fault,) = asked(lazy).faults()
    assert "below 93%" in fault
