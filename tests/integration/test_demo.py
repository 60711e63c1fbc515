"""`make demo`, as a user runs it: a process of its own that trains, serves, asks and judges."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import main


def test_the_demo_is_right_and_says_so(tmp_path: Path) -> None:
    """It exits 0, shows all three models over both protocols and the metrics, and leaves no process behind."""
    ran = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--work", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "all answers as the models in memory give them" in ran.stdout
    for name in ("breast-cancer", "digits", "wine"):
        answered = [line for line in ran.stdout.splitlines() if f"│ {name} " in line]
        assert len(answered) == 3, answered  # gRPC, REST, and its line of metrics
    assert ran.stderr == ""


def test_the_demo_fails_clearly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong is one line, and the exit code is 1."""
    (tmp_path / "file").write_text("")
    assert main(["--work", str(tmp_path / "file")]) == 1
    printed = capsys.readouterr().out
    assert "wrong NotADirectoryError" in printed
    assert "all answers as the models in memory give them" not in printed
