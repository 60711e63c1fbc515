"""The run folder: one cluster at a time, sockets with short enough names, logs that do not grow for ever."""

import os
import sys
from pathlib import Path

import pytest

from dodona.cluster.run_folder import RunFolder, open_log
from serving.errors import ConfigurationError


def test_second_cluster_is_told_who_has_the_folder(tmp_path):
    """The pid of the first is named; once it is gone the folder is free."""
    first = RunFolder(str(tmp_path / "run"))
    with pytest.raises(ConfigurationError, match=rf"is used by another running cluster \(pid {os.getpid()}\)"):
        RunFolder(str(tmp_path / "run"))
    first.close()
    RunFolder(str(tmp_path / "run")).close()


def test_folder_is_private(tmp_path):
    """What is in it may hold secrets."""
    RunFolder(str(tmp_path / "run")).close()
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def test_folder_that_cannot_be_made_is_a_configuration_error(tmp_path):
    """The key to change is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"run_folder: .*Not a directory"):
        RunFolder(str(tmp_path / "file" / "run"))


def test_long_paths_get_a_short_socket(tmp_path):
    """A unix socket's path has about a hundred bytes; the substitute goes with the cluster."""
    short = RunFolder(str(tmp_path / "run"))
    assert short.socket("link.sock") == str(tmp_path / "run" / "link.sock")
    short.close()
    deep = RunFolder(str(tmp_path / ("x" * 120)))
    socket = Path(deep.socket("link.sock"))
    assert len(str(socket)) < 100
    assert socket == Path(deep.socket("link.sock"))
    assert socket.parent.stat().st_mode & 0o077 == 0
    deep.close()
    assert not socket.parent.exists()


def test_large_log_is_set_aside(tmp_path):
    """A log above its bound is kept once under another name."""
    path = tmp_path / "logs" / "dodona.log"
    os.close(open_log(path))
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    os.close(open_log(path))
    assert path.stat().st_size == 0
    assert (tmp_path / "logs" / "dodona.log.1").stat().st_size == 65 * 1024 * 1024


def test_log_that_cannot_be_written_is_a_configuration_error(tmp_path):
    """The key to change is named."""
    with pytest.raises(ConfigurationError, match="log_file"):
        open_log(tmp_path)


def test_interpreter_is_the_one_that_runs_the_tests():
    """Children are started with our own interpreter, so that they see the same packages."""
    from dodona.cluster.router import ROUTER_COMMAND
    from serving.agent.fleet import WORKER_COMMAND

    assert ROUTER_COMMAND[0] == WORKER_COMMAND[0] == sys.executable
