"""URL, TLS and limits of a client."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dodona
from dodona.client.options import Options, options_from, parse_url
from serving.errors import ConfigurationError


def options(url: str | None = None, **changed: Any) -> Options:
    given: dict[str, Any] = {
        "timeout_s": 1.0,
        "retries": 0,
        "max_message_bytes": 1,
        "headers": None,
        "ca": None,
        "certificate": None,
        "key": None,
    }
    return options_from(url, **(given | changed))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpc://host:9", "grpc://host:9"),
        ("grpcs://host:9", "grpcs://host:9"),
        ("host:9", "grpc://host:9"),
        ("host", "grpc://host:8001"),
        ("localhost", "grpc://localhost:8001"),
        ("grpc://[::1]:9", "grpc://[::1]:9"),
        ("grpc://10.0.0.1/", "grpc://10.0.0.1:8001"),
    ],
)
def test_urls_people_write(url: str, address: str) -> None:
    """Scheme and port may be left out."""
    assert str(parse_url(url)) == address


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://host:8000", "REST address"),
        ("ftp://host", "unknown scheme 'ftp'"),
        ("grpc://", "not an address"),
        ("host:port", "host:port"),
        ("grpc://host:1/path", "not an address"),
        ("grpc://me@host:1", "not an address"),
    ],
)
def test_urls_that_cannot_work(url: str, match: str) -> None:
    """Each is refused with the form to write."""
    with pytest.raises(ConfigurationError, match=rf"{match}.*grpc://HOST:PORT"):
        parse_url(url)


def test_the_environment_gives_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument comes before DODONA_URL, which comes before the usual port on this machine."""
    monkeypatch.delenv("DODONA_URL", raising=False)
    assert str(options().address) == "grpc://127.0.0.1:8001"
    monkeypatch.setenv("DODONA_URL", "grpc://elsewhere:1")
    assert str(options().address) == "grpc://elsewhere:1"
    assert str(options("grpc://here:2").address) == "grpc://here:2"


def test_certificates_are_read_and_checked(tmp_path: Path) -> None:
    """PEM files need TLS, must exist, and a certificate needs its key."""
    pem = tmp_path / "ca.pem"
    pem.write_text("PEM")
    assert options("grpcs://h", ca=pem, headers={"Authorization": "x"}).ca == b"PEM"
    assert options("grpcs://h", headers={"Authorization": "x"}).headers == (("authorization", "x"),)
    with pytest.raises(ConfigurationError, match="grpcs://"):
        options("grpc://h", ca=pem)
    with pytest.raises(ConfigurationError, match=r"ca: cannot read .*none\.pem"):
        options("grpcs://h", ca=tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match="give both"):
        options("grpcs://h", certificate=pem)


@pytest.mark.parametrize("wrong", [{"timeout_s": 0.0}, {"retries": -1}])
def test_limits_are_checked(wrong: dict[str, Any]) -> None:
    """A deadline of nothing and a negative count are refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        options(**wrong)


def test_importing_dodona_loads_nothing_heavy() -> None:
    """The command line starts with `import dodona`; gRPC and NumPy come with the first name used."""
    code = (
        "import sys, dodona; print([m for m in ('grpc', 'numpy', 'google.protobuf', 'pydantic') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert printed.stdout.strip() == "[]"


def test_every_exported_name_exists() -> None:
    """What `__all__` promises can be had, and nothing else."""
    for name in dodona.__all__:
        assert getattr(dodona, name) is not None
    assert set(dir(dodona)) == set(dodona.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Cliend'"):
        _ = dodona.Cliend
