"""A rival's own virtual environment, built from the package index it is published on, once, within a time limit."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_TIMEOUT_S = 600.0
STAMP = "installed.txt"


class NotInstalled(Exception):
    """Why a rival cannot run here; the report shows it."""


@dataclass(frozen=True)
class Environment:
    folder: Path

    @property
    def python(self) -> Path:
        # Not resolved: the link in `bin` is what makes it this environment's interpreter.
        return self.folder.absolute() / "bin" / "python"

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder.absolute() / "lib" / version / "site-packages"

    def program(self, name: str) -> Path:
        return self.folder.absolute() / "bin" / name

    def versions(self, requirements: Sequence[str]) -> dict[str, str]:
        """Of what the requirements name, as installed."""
        names = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
        wanted = {name[0].lower() for name in names if name}
        found = importlib.metadata.distributions(path=[str(self.site)])
        return {each.name: each.version for each in found if each.name.lower() in wanted}


def installed(folder: Path, requirements: Sequence[str]) -> Environment | None:
    """The environment in `folder` if it holds exactly these requirements, else None."""
    stamp = folder / STAMP
    fits = stamp.exists() and stamp.read_text().splitlines() == list(requirements)
    return Environment(folder) if fits else None


def install(folder: Path, requirements: Sequence[str], timeout_s: float = INSTALL_TIMEOUT_S) -> Environment:
    """The environment, built anew unless it is there already. Raises NotInstalled with pip's words."""
    there = installed(folder, requirements)
    if there is not None:
        return there
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Environment(folder)
    _run([sys.executable, "-m", "venv", str(folder)], timeout_s)
    pip = [str(made.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "--only-binary=:all:", *requirements], timeout_s)
    (folder / STAMP).write_text("".join(f"{requirement}\n" for requirement in requirements))
    return made


def _run(command: Sequence[str], timeout_s: float) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"installing takes longer than {timeout_s:.0f} s") from error
    if ran.returncode:
        errors = [line for line in ran.stderr.splitlines() if "ERROR" in line] or ran.stderr.splitlines()[-3:]
        raise NotInstalled(f"pip: {' '.join(errors)[:500]}")
