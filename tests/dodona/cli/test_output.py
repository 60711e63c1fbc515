"""What `dodona up` says when versions change: each change once, for people and for scripts."""

import json
import re
from dataclasses import dataclass, field

import pytest

from dodona.cli.serving import Output, say_what_to_do
from dodona.cli.show import number, print_models, print_table, print_workers, reasons, signatures, span, version_as_json
from protos import admin_pb2
from serving.agent.plan import VersionStatus
from serving.spec import ModelSpec, State


@dataclass
class Cluster:
    """The part of LocalCluster that the output reads."""

    versions: list[VersionStatus] = field(default_factory=list)
    repository_fault: str = ""


def version(state: State, reason: str = "", number: str = "1", load_s: float = 0.0) -> VersionStatus:
    return VersionStatus(ModelSpec("iris", number), "onnx", state, reason, load_s=load_s)


def lines(capsys) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in capsys.readouterr().out.splitlines()]


def test_people_see_each_change_once(capsys):
    """Ready, failed with its reason, removed; a repeated state says nothing."""
    output, cluster = Output(as_json=False), Cluster()
    cluster.versions = [version(State.LOADING)]
    output.changed(cluster)
    cluster.versions = [version(State.READY, load_s=1.25), version(State.FAILED, "bad [golden] row", "2")]
    output.changed(cluster)
    output.changed(cluster)
    assert lines(capsys) == ["iris/1 READY in 1.2 s", "iris/2 FAILED: bad [golden] row"]
    cluster.versions = [version(State.READY, load_s=1.25)]
    output.changed(cluster)
    cluster.repository_fault = "gone"
    output.changed(cluster)
    assert lines(capsys) == ["iris/2 removed", "the repository cannot be read: gone"]


def test_scripts_get_one_object_a_line(capsys):
    """Every event has the same keys each time."""
    output, cluster = Output(as_json=True), Cluster([version(State.READY, load_s=0.5)])
    output.say("not for scripts")
    output.changed(cluster)
    cluster.versions = []
    cluster.repository_fault = "gone"
    output.changed(cluster)
    events = [json.loads(line) for line in lines(capsys)]
    assert events == [
        {
            "event": "version",
            "name": "iris",
            "version": "1",
            "framework": "onnx",
            "state": "READY",
            "reason": "",
            "load_s": 0.5,
        },
        {"event": "repository", "fault": "gone"},
        {
            "event": "version",
            "name": "iris",
            "version": "1",
            "framework": "",
            "state": "REMOVED",
            "reason": "",
            "load_s": 0.0,
        },
    ]


def test_versions_of_a_cluster_that_ends_are_no_news(capsys):
    """Their workers go because they are meant to: nothing is LOADING, nothing was lost."""
    output, cluster = Output(as_json=True), Cluster([version(State.READY)])
    output.changed(cluster)
    output.ending(asked=True)
    cluster.versions = [version(State.LOADING, "its worker was lost, starting another")]
    output.changed(cluster)
    assert [json.loads(line)["event"] for line in lines(capsys)] == ["version", "draining"]


@pytest.mark.parametrize("repository", ["./nosuch", "."])
def test_nothing_to_serve_is_said_once(repository, tmp_path, monkeypatch, capsys):
    """The repository is named once, with what is wrong with it."""
    monkeypatch.chdir(tmp_path)
    fault = "repository .: cannot be listed: not a folder" if repository == "." else "repository ./nosuch: is not there"
    say_what_to_do(Output(as_json=False), repository, fault)
    first = lines(capsys)[0]
    said = "repository .: cannot be listed: not a folder" if repository == "." else "./nosuch does not exist."
    assert first == f"Nothing to serve yet: {said}"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.84, "0.8 s"), (42, "42 s"), (119, "119 s"), (180, "3 min"), (3_600, "1 h"), (18_000, "5 h"), (200_000, "2 d")],
)
def test_spans_are_short(seconds, expected):
    """One number and a unit."""
    assert span(seconds) == expected


def test_numbers_are_short():
    """Floats to six digits, all else as it is."""
    assert [number(value) for value in (0.123456789, 3, "x")] == ["0.123457", "3", "x"]


def test_models_are_listed_with_reasons_below(capsys):
    """A table whose rows stay whole in a pipe, then a line for each reason."""
    model = admin_pb2.ModelVersion(
        name="iris",
        version="2",
        framework="onnx",
        state="FAILED",
        reason="bad [golden] row " * 20,
        is_default=True,
        labels=["stable"],
        succeeded=3,
        failed=1,
        inputs=["x FP32[4]"],
        outputs=["y FP32[1]"],
    )
    print_models([model])
    out = lines(capsys)
    assert len(out) == 2
    assert out[1].split()[:4] == ["iris", "2", "*", "stable"]
    assert next(reasons([model])).startswith("iris/2 [red]FAILED[/]: bad \\[golden] row")
    assert list(signatures([model])) == ["iris/2 takes x FP32[4]; gives y FP32[1]"]
    assert version_as_json(model)["default"] is True


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


LONG = "customer-lifetime-value-prediction-emea"


def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(narrow, capsys):
    """Name, version and state are always there; no cell is cut in the middle."""
    model = admin_pb2.ModelVersion(
        name=LONG, version="2024-06-01", framework="xgboost", state="READY", succeeded=123_456, load_s=3
    )
    print_models([model])
    out = lines(capsys)
    assert len(out) == 2
    assert all(len(line) <= 80 for line in out)
    assert out[1].split()[:3] == [LONG, "2024-06-01", "READY"]


def test_a_narrow_terminal_wraps_lists_of_models_between_names(narrow, capsys):
    """The workers table: the process is whole, and so is every model's name."""
    names = [f"{LONG}-{number}" for number in range(3)]
    print_workers([admin_pb2.Worker(name="xgboost-1", role="worker", models=names, metrics_address="127.0.0.1:40001")])
    out = lines(capsys)
    assert all(len(line) <= 80 for line in out)
    assert [name for name in names if name in " ".join(out)] == names


def test_a_name_wider_than_the_terminal_is_still_whole(narrow, capsys):
    """It goes over the edge, where the terminal breaks it."""
    assert print_table(["model", "x"], [["n" * 100, "1"]], sheds=["x"]) == 1
    assert "n" * 100 in lines(capsys)
