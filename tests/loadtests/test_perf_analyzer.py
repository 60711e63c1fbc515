"""Reading perf_analyzer's report."""

import pytest

from loadtests.perf_analyzer import Analysis, parse

REPORT = """Request concurrency: 8
  Client:
    Request count: 5000
    Throughput: 4999.31 infer/sec
    p50 latency: 512 usec
    p90 latency: 700 usec
    p95 latency: 801 usec
    p99 latency: 1204 usec
    Avg gRPC time: 530 usec
"""


def test_rate_and_latencies_are_read() -> None:
    """Latencies are written in microseconds."""
    assert parse(REPORT) == Analysis(4999.31, 0.512, 1.204)


def test_another_form_is_an_error() -> None:
    """A version that writes something else is noticed, not misread."""
    with pytest.raises(RuntimeError, match="new form"):
        parse("all done")
