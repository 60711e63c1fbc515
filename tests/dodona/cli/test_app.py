"""The command line without a cluster: what it explains, refuses, and answers by itself."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dodona.cli.app import app
from dodona.cli.exits import BROKEN, FAILED, RETRY, UNREACHABLE, USAGE, UsageError, told
from dodona.client.failures import Unreachable
from dodona.cluster import ClusterError
from serving import errors
from tests.serving.bundle.makers import doubling_model

ONNX, GOLDEN = "model.onnx", "golden.csv"
COMMANDS = ("up", "pack", "verify", "models", "predict", "status", "config", "version")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder with a model and too few columns of examples, and with a clean environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ONNX).write_bytes(doubling_model().SerializeToString())
    (tmp_path / GOLDEN).write_text("a,b\n1,2\n")
    for name in ("DODONA_URL", "DODONA_CONFIG", "DODONA_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *words, **kwargs: runner.invoke(app, list(words), **kwargs)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    """--help explains each command and exits 0."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(run, command):
    """Help shows lines to copy."""
    assert f"dodona {command}" in run(command, "--help").stdout.partition("Examples")[2]


def test_help_imports_nothing_heavy():
    """`dodona --help` stays instant: no framework, no gRPC, no NumPy, no pydantic."""
    code = (
        "import sys; from typer.testing import CliRunner; from dodona.cli.app import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print(*sorted({'numpy', 'grpc', 'pydantic', 'pyarrow', 'google.protobuf', 'asyncio'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_config_prints_yaml_with_sources(run, tmp_path):
    """The effective configuration, with a comment where a value is not the default."""
    (tmp_path / "dodona.yaml").write_text("router: {grpc_port: 9001}\n")
    result = run("config")
    assert result.exit_code == 0
    assert "grpc_port: 9001  # dodona.yaml" in result.stdout


def test_config_as_json_is_json(run):
    """For scripts: settings and sources."""
    answer = json.loads(run("config", "--json").stdout)
    assert answer["settings"]["router"]["grpc_port"] == 8001
    assert answer["sources"] == {}


def test_config_explains_every_key(run):
    """As text and as JSON."""
    assert "router.grpc_port (integer" in run("config", "--explain").stdout
    keys = json.loads(run("config", "--explain", "--json").stdout)
    assert {"key", "type", "default", "meaning"} == set(keys[0])


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("predict", "iris"), USAGE, "give the input either as --json"),
        (("predict", "iris", "--json", "{}", "--file", "x.csv"), USAGE, "give the input either as --json"),
        (("predict", "iris", "--json", "{"), USAGE, "--json: not valid JSON: "),
        (("predict", "iris", "--json", '{"a": 1, "a": 2}'), USAGE, "--json: key 'a' is there twice in one object"),
        (("predict", "iris", "--json", "{}", "--output", "x.csv"), USAGE, "--output goes with --file"),
        (("predict", "iris", "--file", "rows.txt", "--url", "grpc://127.0.0.1:1"), USAGE, "kind .txt are not read"),
        (("predict", "iris", "--file", "rows.csv", "--url", "grpc://127.0.0.1:1"), USAGE, "cannot be read: no such"),
        (("models", "--url", "grpc://127.0.0.1:1"), UNREACHABLE, "nothing answers at grpc://127.0.0.1:1; start a cl"),
        (("status", "--url", "grpc://127.0.0.1:1"), UNREACHABLE, "nothing answers"),
        (("status", "--url", "http://127.0.0.1:8000"), USAGE, "is a REST address"),
        (("config", "--config", "nosuch.yaml"), USAGE, "nosuch.yaml: cannot be read"),
        (("up", "--config", "nosuch.yaml"), USAGE, "nosuch.yaml: cannot be read"),
        (("up", "--front", "envoy"), USAGE, "--front: router.front: Input should be 'http2' or 'grpcio'"),
        (("pack", "nosuch.onnx"), USAGE, "--name is missing"),
        (("pack", "nosuch.onnx", "--name", "x"), USAGE, "nosuch.onnx does not exist"),
        (("pack", "--name", "x", "--framework", "caffe"), USAGE, "use one of onnx, xgboost, python, echo"),
        (("pack", "--name", "x", "--framework", "onnx"), USAGE, "a file to pack is missing"),
        (("pack", "--name", "my model", "--framework", "echo"), USAGE, "--name 'my model' cannot be used; letters"),
        (
            ("pack", ONNX, "--name", "x", "--repository", "/proc/x"),
            FAILED,
            "repository: /proc/x cannot be made: No such",
        ),
        (
            ("pack", __file__, "--name", "x", "--framework", "xgboost"),
            FAILED,
            "test_app.py is no XGBoost model: Invalid ",
        ),
        (("pack", ONNX, "--name", "x", "--golden", GOLDEN), USAGE, "2 columns for 3 elements of x; the model takes 3"),
        (("verify", "nosuch"), USAGE, "nosuch is no folder"),
        (("verify", "."), USAGE, "there is no model in ."),
        (("predict", "--nonsense"), USAGE, "No such option"),
        (("nonsense",), USAGE, "No such command"),
    ],
)
def test_errors_are_one_line_with_a_remedy(run, words, code, text):
    """No traceback, the right exit code, nothing on standard output."""
    result = run(*words)
    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_stdin_is_read_for_a_dash(run):
    """`--json -` takes the input from standard input."""
    result = run("predict", "iris", "--json", "-", "--url", "grpc://127.0.0.1:1", input="{broken")
    assert (result.exit_code, "not valid JSON" in result.stderr) == (USAGE, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), USAGE),
        (errors.ConfigurationError("x"), USAGE),
        (Unreachable("nobody at grpc://x:1", remedy="y"), UNREACHABLE),
        (errors.Unavailable("still loading"), RETRY),
        (errors.Shed("queue full"), RETRY),
        (errors.DeadlineExceeded("late"), RETRY),
        (ClusterError("the port is taken"), FAILED),
        (errors.InvalidRequest("x"), FAILED),
        (errors.ModelNotFound("x"), FAILED),
        (errors.ModelFailed("x"), FAILED),
        (errors.BundleError("x"), FAILED),
        (ZeroDivisionError("x"), FAILED),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    """Scripts can tell what to do from the exit code alone."""
    assert told(error)[1] == code


def test_a_fault_of_ours_is_named_as_one(run):
    """An unexpected exception is one line too, and says how to see more."""
    text, _ = told(ZeroDivisionError("division by zero"))
    assert text == "ZeroDivisionError: division by zero (a fault of Dodona's; DODONA_TRACEBACK=1 shows where)"


def test_error_with_a_request_id_shows_it():
    """The id is what finds the request in the server's log."""
    error = errors.ModelFailed("boom")
    error.request_id = "r-7"
    assert told(error)[0] == "boom (request r-7)"


def test_version_names_what_is_installed(run):
    """Text for people, JSON for scripts."""
    assert run("version").stdout.startswith("dodona ")
    assert run("--version").stdout == run("version").stdout.splitlines()[0] + "\n"
    assert json.loads(run("version", "--json").stdout)["dodona"]


def test_exit_codes_are_distinct_and_documented(run):
    """The guide and the help list every code."""
    from pathlib import Path

    guide = (Path(__file__).parents[3] / "docs" / "guides" / "cli.md").read_text()
    for code in (0, FAILED, USAGE, UNREACHABLE, BROKEN, RETRY, 130):
        assert f"| {code} |" in guide
        assert f" {code} " in run("--help").stdout
