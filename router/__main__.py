"""`python -m router --settings FILE [--status-fd N]`: one router process. FILE holds RouterSettings as JSON."""

import argparse
import json
import os
import sys
from pathlib import Path

from router.process import run
from router.settings import RouterSettings
from serving import loop
from serving.errors import ConfigurationError
from serving.log import configure
from serving.settings import validate
from serving.tracing.settings import with_environment


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m router", description=__doc__)
    parser.add_argument("--settings", type=Path, help="JSON file of router settings; none = all defaults")
    parser.add_argument("--status-fd", type=int, help="file descriptor that gets one JSON line once listening")
    arguments = parser.parse_args()
    try:
        values = json.loads(arguments.settings.read_text()) if arguments.settings else {}
        settings = validate(RouterSettings, with_environment(values, os.environ), where="router")
    except (OSError, ValueError, ConfigurationError) as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    configure(settings.name, settings.log_level)
    try:
        loop.run(run(settings, arguments.status_fd))
    except ConfigurationError as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"router: cannot listen: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
