"""Structured logs: one JSON object a line on standard error, the same keys from every process.

Keys: `ts` (UTC, RFC 3339), `level`, `logger`, `event`, then what the call site gave: `log.info("model ready",
extra={"model": "iris", "version": "3"})`. Requests carry `request_id`, which callers see in `x-request-id`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

# Attributes every LogRecord has; whatever else is on one came through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # lone surrogates or keys that are no text: slower, but it takes anything
            return json.dumps(line, default=str, skipkeys=True)


def configure(process: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send the root logger's lines, as JSON, to `stream` (standard error if None). Called once per process."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
