"""The first guide does what it says: every command and every block of Python is run, in order, as it is printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from dodona.client import Client
from tests.integration.up import Up, until

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
SAVED_AS = re.compile(r"save this there as `([^`]+)`:\s*$")


def blocks(guide: str) -> Iterator[tuple[str, str, str]]:
    """Language, text, and the file it is to be saved as, if any."""
    for found in BLOCK.finditer(guide):
        saved_as = SAVED_AS.search(guide[: found.start()])
        yield found[1], found[2], saved_as[1] if saved_as else ""


def commands(text: str) -> Iterator[str]:
    """Those of a console block, whose lines may go on after a backslash."""
    for line in text.replace("\\\n", " ").splitlines():
        assert line.startswith("$ "), line
        yield line.removeprefix("$ ")


class Reader:
    """Someone who types what the guide says. Only the ports are others, because the usual ones may be taken."""

    def __init__(self, folder: Path, cluster: ExitStack) -> None:
        self.folder = folder
        self._cluster = cluster
        self._addresses: dict[str, str] = {}
        self._url = ""
        self.typed: list[str] = []

    def types(self, command: str) -> None:
        self.typed.append(command)
        if command == "dodona up":
            up = self._cluster.enter_context(Up(self.folder))
            started = up.event("started")
            up.event("ready")
            self._addresses = {"localhost:8000": started["http"], "localhost:8002": started["metrics"]}
            self._url = f"grpc://{started['grpc']}"
            return
        for usual, real in self._addresses.items():
            command = command.replace(usual, real)
        self._run(["bash", "-euo", "pipefail", "-c", command.replace("curl -s", "curl -sf")])

    def pastes(self, block: str) -> None:
        self._run([sys.executable, "-c", block])

    def sees(self, model: str) -> None:
        """Wait as long as the guide says it takes."""
        with Client(self._url) as client:
            until(lambda: client.ready(model))

    def _run(self, words: list[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DODONA_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        more = {"PATH": path, "PYTHONPATH": str(ROOT)} | ({"DODONA_URL": self._url} if self._url else {})
        ran = subprocess.run(
            words, cwd=self.folder, env=environment | more, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, f"{words[-1]}\n{ran.stdout}{ran.stderr}"


def test_every_line_of_the_guide_works_as_typed(tmp_path: Path) -> None:
    """In one folder, one after the other, against the cluster that the guide starts."""
    guide = (ROOT / "docs" / "guides" / "first-model.md").read_text()
    with ExitStack() as cluster:
        reader = Reader(tmp_path, cluster)
        for language, text, saved_as in blocks(guide):
            if saved_as:
                (tmp_path / saved_as).parent.mkdir()
                (tmp_path / saved_as).write_text(text)
            elif language == "python":
                reader.pastes(text)
            else:
                for command in commands(text):
                    if "my-model" in command:
                        reader.sees("my-model")
                    reader.types(command)
    assert "dodona up" in reader.typed
    assert len(reader.typed) >= 10
