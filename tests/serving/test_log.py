"""Logs are JSON, one object a line."""

import io
import json
import logging

from serving.log import JsonFormatter


def test_line_has_the_contract_keys_and_what_the_call_gave() -> None:
    """Request ids and the like are keys of their own, never text to be parsed."""
    stream = io.StringIO()
    logger = logging.getLogger("tests.log")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("router"))
    logger.addHandler(handler)
    try:
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("request %s", "failed", extra={"request_id": "r-1", "path": {"a": 1}})
    finally:
        logger.removeHandler(handler)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line.pop("ts").endswith("+00:00")
    assert "ValueError: broken" in line.pop("exception")
    assert line == {
        "level": "error",
        "process": "router",
        "logger": "tests.log",
        "event": "request failed",
        "request_id": "r-1",
        "path": {"a": 1},
    }


def test_any_text_is_logged() -> None:
    """Lone surrogates and odd keys must not turn a line into a traceback."""
    record = logging.makeLogRecord({"name": "x", "msg": "bad \ud800", "extra_key": {1: "one", "k": "\udcff"}})
    assert json.loads(JsonFormatter("worker").format(record))["event"] == "bad \ud800"
