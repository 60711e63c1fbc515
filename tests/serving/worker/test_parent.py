import json
import logging
import os

import pytest

from serving.errors import ConfigurationError
from serving.spec import ModelSpec
from serving.worker.parent import Command, Drain, StatusLine, Unload, parse_command, read_commands


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"drain": true}', Drain()),
        (b'{"unload": {"name": "m", "version": "2"}}', Unload(ModelSpec("m", "2"))),
        (b'{"drain": false}', None),
        (b"{}", None),
    ],
)
def test_commands(line: bytes, expected: Command | None) -> None:
    """A line is one command, or asks for nothing."""
    assert parse_command(line) == expected


@pytest.mark.parametrize("line", [b"drain", b"[]", b'{"drian": true}', b'{"unload": {"name": "m"}}', b'{"drain": 1}'])
def test_wrong_commands(line: bytes) -> None:
    """What is not a command is refused with its key."""
    with pytest.raises(ConfigurationError, match="command"):
        parse_command(line)


def test_lines_may_come_in_pieces(caplog: pytest.LogCaptureFixture) -> None:
    """Commands are read as they come; wrong ones are logged and passed over; the end is told once."""
    reading, writing = os.pipe()
    heard: list[object] = []
    os.write(writing, b'{"drain": tr')
    os.write(writing, b'ue}\n\nnonsense\n{"unload": {"name": "m", "version": "1"}}\n{"drain"')
    os.close(writing)
    with caplog.at_level(logging.ERROR):
        read_commands(reading, heard.append, lambda: heard.append("end"))
    os.close(reading)
    assert heard == [Drain(), Unload(ModelSpec("m", "1")), "end"]
    assert "wrong command from the parent" in caplog.text


def test_status_is_a_json_line() -> None:
    """The parent reads one object a line."""
    reading, writing = os.pipe()
    status = StatusLine(writing)
    status.tell("started", pid=7)
    status.tell_of("failed", ModelSpec("m", "1"), reason="digest")
    lines = [json.loads(line) for line in os.read(reading, 10_000).splitlines()]
    assert lines == [
        {"event": "started", "pid": 7},
        {"event": "failed", "name": "m", "version": "1", "reason": "digest"},
    ]
    os.close(reading)
    status.tell("ready")  # nobody reads any more
    os.close(writing)
    status.tell("ready")


def test_without_a_parent_status_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A worker started by hand says the same in its log."""
    with caplog.at_level(logging.INFO):
        StatusLine(None).tell("drained")
    assert "drained" in caplog.text
