import json
from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.worker.__main__ import read_settings
from serving.worker.settings import WorkerSettings

LEAST = {"name": "w", "framework": "echo", "routers": ["unix:/run/link.sock"]}


def test_settings_from_a_file(tmp_path: Path) -> None:
    """Every key but three has a default."""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(LEAST))
    settings = read_settings(path)
    assert settings == WorkerSettings.model_validate(LEAST)
    assert settings.inline_below_s == 0.002


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "--settings: not JSON"),
        ("[]", "--settings: not a JSON object"),
        (json.dumps(LEAST | {"thraeds": 1}), "thraeds: unknown key; did you mean 'threads'"),
        (json.dumps(LEAST | {"nice": 99}), "nice: .*less than or equal to 19"),
        (json.dumps({}), "name: Field required"),
        (json.dumps(LEAST | {"routers": ["nonsense"]}), "routers.0: 'nonsense' is not a link address; write unix:PATH"),
    ],
)
def test_wrong_settings_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is said before anything starts."""
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_settings(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """The option is named, not a stack trace printed."""
    with pytest.raises(ConfigurationError, match="--settings: cannot be read: No such file"):
        read_settings(tmp_path / "none.json")


def test_the_token_is_not_printed() -> None:
    """Settings end up in logs; the secret does not."""
    assert "hunter2" not in repr(WorkerSettings.model_validate(LEAST | {"token": "hunter2"}))
