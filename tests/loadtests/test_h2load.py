"""Reading h2load's report."""

from pathlib import Path

import pytest

from loadtests import h2load

REPORT = """starting benchmark...
finished in 1.50s, 2000.00 req/s, 293.36KB/s
requests: 3000 total, 3000 started, 3000 done, 2998 succeeded, 2 failed, 0 errored, 0 timeout
status codes: 2998 2xx, 0 3xx, 0 4xx, 2 5xx
traffic: 440.00KB (450560) total, 190.43KB (195000) headers (space savings 70.10%), 178.65KB (182936) data
"""
LOG = "1700000000000001\t200\t300\n1700000000000002\t200\t100\n1700000000000003\t500\t200\n"


def test_counts_rate_and_latencies_are_read() -> None:
    """Succeeded counts HTTP statuses, latencies come from the log in microseconds."""
    outcome = h2load.parse(REPORT, LOG)
    assert (outcome.requests, outcome.succeeded, outcome.elapsed_s, outcome.rate) == (3000, 2998, 1.5, 2000.0)
    assert outcome.data_bytes == 182936
    assert outcome.latencies_s == [0.0001, 0.0002, 0.0003]
    assert outcome.quantile_s(0.5) == 0.0002
    assert outcome.quantile_s(1.0) == 0.0003


@pytest.mark.parametrize(("text", "seconds"), [("812us", 812e-6), ("97.5ms", 0.0975), ("12.00s", 12.0)])
def test_all_units_are_understood(text: str, seconds: float) -> None:
    """h2load writes short runs in smaller units."""
    assert h2load.parse(REPORT.replace("1.50s", text), LOG).elapsed_s == pytest.approx(seconds)


def test_another_form_is_an_error() -> None:
    """A version that writes something else is noticed, not misread."""
    with pytest.raises(RuntimeError, match="new form"):
        h2load.parse("all done", LOG)


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package's name is in the message."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt-get install nghttp2-client"):
        h2load.command()
