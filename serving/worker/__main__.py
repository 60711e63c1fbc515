"""`python -m serving.worker --settings FILE [--status-fd N]`: one worker process. FILE holds WorkerSettings as JSON.

With `--status-fd` it has a parent: it writes status there as JSON lines, takes commands on standard input
(`{"unload": {"name": ..., "version": ...}}`, `{"drain": true}`), and drains and exits when that ends. Without, it
serves until SIGTERM or SIGINT.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import orjson

from serving import log as json_log
from serving.errors import ConfigurationError
from serving.loop import run
from serving.settings import validate
from serving.tracing.settings import with_environment
from serving.worker.process import WorkerProcess
from serving.worker.settings import WorkerSettings


def read_settings(path: Path) -> WorkerSettings:
    """Raises ConfigurationError: no such file, not JSON, unknown keys, wrong values."""
    try:
        values = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read: {error.strerror}", field="--settings", remedy="give the path of a JSON file"
        ) from error
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"not JSON: {error}", field="--settings", remedy="write a JSON object") from error
    if not isinstance(values, dict):
        raise ConfigurationError("not a JSON object", field="--settings", remedy="write a JSON object")
    return validate(WorkerSettings, with_environment(values, os.environ))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.worker", description="One Dodona worker process.")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file with the worker's settings")
    parser.add_argument("--status-fd", type=int, help="file descriptor that gets status lines; stdin takes commands")
    arguments = parser.parse_args()
    try:
        settings = read_settings(arguments.settings)
    except ConfigurationError as error:
        print(f"serving.worker: {error}", file=sys.stderr)  # noqa: T201 - no log before its level is known
        return 2
    json_log.configure(settings.name, settings.log_level)
    worker = WorkerProcess(settings, status_descriptor=arguments.status_fd)
    run(worker.run())
    if worker.stuck:  # a thread that Python would wait for until it ends, or tear down under its feet
        logging.shutdown()
        os._exit(worker.exit_code)
    return worker.exit_code


if __name__ == "__main__":
    sys.exit(main())
