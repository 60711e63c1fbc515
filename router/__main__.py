"""`python -m router --settings FILE [--status-fd N]`: one router. FILE holds RouterSettings as JSON.

With `processes` above 1 this is their parent, which starts them as `python -m router --member-fd N`.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from router.settings import RouterSettings
from serving.errors import ConfigurationError
from serving.log import configure
from serving.memory import keep_freed_buffers
from serving.settings import validate
from serving.tracing.settings import with_environment


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m router", description=__doc__)
    parser.add_argument("--settings", type=Path, help="JSON file of router settings; none = all defaults")
    parser.add_argument("--status-fd", type=int, help="file descriptor that gets one JSON line once listening")
    parser.add_argument("--member-fd", type=int, help="socket to the parent, which says everything else")
    arguments = parser.parse_args()
    try:
        if arguments.member_fd is not None:
            return _member(socket.socket(fileno=arguments.member_fd))
        values = json.loads(arguments.settings.read_text()) if arguments.settings else {}
        settings = validate(RouterSettings, with_environment(values, os.environ), where="router")
    except (OSError, ValueError, ConfigurationError) as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    keep_freed_buffers()
    configure(settings.name, settings.log_level)
    return _exit_code(lambda: _several(settings, arguments) if settings.processes > 1 else _one(settings, arguments))


# What only one of them needs is imported there: the parent is to stay small.


def _one(settings: RouterSettings, arguments: argparse.Namespace) -> int:
    from router.process import run
    from serving import loop

    loop.run(run(settings, arguments.status_fd))
    return 0


def _several(settings: RouterSettings, arguments: argparse.Namespace) -> int:
    from router.processes.parent import run

    return asyncio.run(run(settings, arguments.status_fd))


def _member(end: socket.socket) -> int:
    from router.process import run
    from router.processes.channel import read_first
    from router.processes.member import Membership
    from serving import loop

    told: Mapping[str, Any] = json.loads(read_first(end))
    settings = validate(RouterSettings, told["settings"], where="router")
    membership = Membership(end, told["number"], told["replaces"])
    configure(membership.name_of(settings), settings.log_level)

    def serve() -> int:
        loop.run(run(settings, membership=membership))
        return 0

    return _exit_code(serve)


def _exit_code(serve: Callable[[], int]) -> int:
    try:
        return serve()
    except ConfigurationError as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"router: cannot listen: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
