"""Exit codes, and the one place where an error becomes a line on standard error (docs/guides/cli.md lists them)."""

import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import typer

OK: Final = 0
FAILED: Final = 1
"""The operation failed: a prediction or a bundle was refused, the cluster could not start."""
USAGE: Final = 2
"""Wrong options, unreadable input, wrong configuration."""
UNREACHABLE: Final = 3
"""Nothing answers at the address."""
BROKEN: Final = 4
"""It worked, and some model version is FAILED."""
RETRY: Final = 5
"""Refused for now, the same request may succeed later: shed, not ready, deadline passed."""
INTERRUPTED: Final = 130

P = ParamSpec("P")
R = TypeVar("R")


class UsageError(Exception):
    """What was typed cannot be carried out; the text is shown as it is."""


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors are one line each, with the exit code that belongs to them. DODONA_TRACEBACK=1 adds the
    traceback, for whoever looks for a fault in Dodona itself."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (`| head`) has seen enough; without this the interpreter complains once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OK) from None
        except Exception as error:
            if os.environ.get("DODONA_TRACEBACK"):
                traceback.print_exc()
            text, code = told(error)
            print(f"dodona: {text}", file=sys.stderr)
            raise typer.Exit(code) from None

    return run


def told(error: Exception) -> tuple[str, int]:
    """The line and the exit code for an error."""
    from serving.errors import ConfigurationError, DeadlineExceeded, DodonaError, Shed, Unavailable

    if isinstance(error, UsageError | ConfigurationError):
        return str(error), USAGE
    if isinstance(error, Unavailable) and _is_unreachable(error):
        return f"{error.message}; start a cluster with `dodona up`, or say where it is with --url", UNREACHABLE
    if isinstance(error, Unavailable | Shed | DeadlineExceeded) and not _is_start(error):
        return _with_id(error), RETRY
    if isinstance(error, DodonaError):
        return _with_id(error), FAILED
    return f"{type(error).__name__}: {error} (a fault of Dodona's; DODONA_TRACEBACK=1 shows where)", FAILED


def _is_unreachable(error: Exception) -> bool:
    from dodona.client.failures import Unreachable

    return isinstance(error, Unreachable)


def _is_start(error: Exception) -> bool:
    from dodona.cluster.local import ClusterError

    return isinstance(error, ClusterError)


def _with_id(error: Exception) -> str:
    """With the id under which the server's log has more."""
    request_id = getattr(error, "request_id", "")
    return f"{error} (request {request_id})" if request_id else str(error)
