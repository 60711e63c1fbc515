"""Failed requests in the log."""

import logging

import pytest

from router.failures import FailureLog
from router.settings import Limits
from serving.errors import Unavailable
from tests.router.cluster import Cluster, Worker, model


def test_lines_are_bounded_and_say_what_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of failures must not make logging the load."""
    cluster = Cluster(Limits())
    Worker(cluster, "w").serve(model())
    caller = cluster.call(request_id="r-7")
    assert caller.inference
    now = [10.0]
    failures = FailureLog(lambda: now[0], per_second=2)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            failures.add(caller.inference, Unavailable("gone"), 0.25)
        now[0] = 11.0
        failures.add(caller.inference, Unavailable("gone"), 0.25)
    lines = [vars(record) for record in caplog.records if record.message == "request failed"]
    assert [line.get("omitted") for line in lines] == [None, None, 3]
    assert (lines[0]["request_id"], lines[0]["model"], lines[0]["status"]) == ("r-7", "m/1", "UNAVAILABLE")
    assert (lines[0]["error"], lines[0]["seconds"]) == ("gone", 0.25)
