"""Which cluster a command talks to."""

import pytest

from dodona.cli.target import target
from dodona.cluster.addresses import forget_addresses, write_addresses


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DODONA_URL", raising=False)
    return tmp_path


def test_option_then_environment_then_running_then_configured(here, monkeypatch):
    """The nearest statement wins."""
    (here / "dodona.yaml").write_text("router: {grpc_port: 9001, host: 0.0.0.0}\n")
    assert target(None) == "grpc://127.0.0.1:9001"
    (here / ".dodona").mkdir()
    write_addresses(here / ".dodona", {"grpc": "0.0.0.0:54321"})
    assert target(None) == "grpc://127.0.0.1:54321"
    monkeypatch.setenv("DODONA_URL", "grpc://elsewhere:1")
    assert target(None) == "grpc://elsewhere:1"
    assert target("grpc://given:2") == "grpc://given:2"


def test_a_cluster_that_has_gone_is_forgotten(here):
    """After it stopped, and where the file is no JSON, the configuration counts."""
    (here / ".dodona").mkdir()
    write_addresses(here / ".dodona", {"grpc": "127.0.0.1:5"})
    forget_addresses(here / ".dodona")
    forget_addresses(here / ".dodona")
    assert target(None) == "grpc://127.0.0.1:8001"
    (here / ".dodona" / "addresses.json").write_text("nonsense")
    assert target(None) == "grpc://127.0.0.1:8001"


def test_tls_is_taken_from_the_configuration(here):
    """A router with a certificate is called with TLS."""
    (here / "dodona.yaml").write_text("router: {tls: {certificate: c.pem, key: k.pem}}\n")
    assert target(None) == "grpcs://127.0.0.1:8001"
