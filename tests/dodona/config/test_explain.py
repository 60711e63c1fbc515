"""The configuration explained and shown: complete, current, and without secrets."""

from pathlib import Path

import yaml

from dodona.config import ClusterSettings, load
from dodona.config.explain import as_markdown, as_text, explained
from dodona.config.show import HIDDEN, as_json, as_yaml
from serving.settings import validate

ROOT = Path(__file__).parents[3]


def test_reference_page_is_current():
    """docs/reference/configuration.md is what the settings say now."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    assert page == as_markdown(explained()), "write it anew: python -m dodona.config.explain > " + (
        "docs/reference/configuration.md"
    )


def test_every_key_has_a_text_and_a_default():
    """Nobody has to read the source to learn what a key does."""
    keys = [key for key in explained() if not key.block]
    assert len(keys) > 30
    assert [key.name for key in keys if not key.text] == []
    assert [key.name for key in keys if key.kind == "value"] == []


def test_keys_with_a_unit_say_so_in_their_name_or_text():
    """Durations end in _s and sizes in _bytes, and their text says seconds or bytes."""
    for key in explained():
        if key.path[-1].endswith("_s"):
            assert "econds" in key.text, key.name
        if key.path[-1].endswith("_bytes"):
            assert "ytes" in key.text, key.name


def test_text_form_names_type_and_default():
    """The terminal's form has all that the page has."""
    text = as_text(explained())
    assert "router.grpc_port (integer 0..65535, default 8001)\n    0 = any free port" in text
    assert "router.front (http2 | grpcio, default http2)" in text
    assert "workers.<onnx|xgboost|python|echo>.replicas (integer 0..1024, default 1)" in text


def test_effective_configuration_loads_again_as_the_same():
    """What is printed can be used as dodona.yaml, and says where values came from."""
    configuration = load(None, {"DODONA_ROUTER__GRPC_PORT": "9001", "DODONA_WORKERS__ONNX__REPLICAS": "2"})
    text = as_yaml(configuration)
    assert "  grpc_port: 9001  # DODONA_ROUTER__GRPC_PORT\n" in text
    assert validate(ClusterSettings, yaml.safe_load(text)) == configuration.settings


def test_secrets_are_never_shown():
    """Neither form prints a token; an empty one is shown as empty."""
    configuration = load(None, {"DODONA_ROUTER__LINK__TOKEN": "hunter2"})
    assert "hunter2" not in as_yaml(configuration)
    assert HIDDEN in as_yaml(configuration)
    assert "hunter2" not in str(as_json(configuration))
    assert "token: ''\n" in as_yaml(load(None, {}))


def test_json_form_names_sources():
    """For scripts: the settings as they are, and path -> source."""
    configuration = load(None, {"DODONA_ROUTER__GRPC_PORT": "9001"})
    assert as_json(configuration)["sources"] == {"router.grpc_port": "DODONA_ROUTER__GRPC_PORT"}


def test_every_key_and_block_has_a_text():
    """Nothing is listed that nobody explains."""
    assert [key.name for key in explained() if not key.text] == []
