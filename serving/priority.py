"""Low priority while a process loads, and its own again before it serves.

Linux weighs threads by niceness, but where it groups processes by session (autogroup, on by default outside of
containers and of systemd's own CPU accounting) only within a session: a worker has a session of its own, so the
niceness of its threads says nothing there to the router or to other workers. The session's own niceness does, and
unlike a thread's it can be put back without privilege. Where processes are not grouped it does nothing, and the
threads' does.

So both are set: the agent lowers a new worker's session, imports included, unless nothing serves yet; the worker puts
it back with the first version that is ready; and the thread that loads lowers itself for good. Threads that a framework
makes meanwhile inherit that, and are to serve: they are raised again (`restore_threads`), for which a process needs
CAP_SYS_NICE or a RLIMIT_NICE that allows it (`may_raise`). See sched(7), "The autogroup feature".
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

_CAP_SYS_NICE: Final = 1 << 23
_AGAIN_S: Final = 0.12
"""The system takes one change every tenth of a second from the unprivileged, all of them together."""
_TRIES: Final = 50


def lower_session(pid: int, nice: int) -> None:
    """Of the process that leads it, a child of ours. Does nothing where there is no such thing."""
    try:
        if nice and os.getsid(pid) == pid:
            _autogroup(pid).write_text(str(nice))
    except OSError:
        log.debug("the session's niceness cannot be set", extra={"child": pid})


def session_nice(pid: int) -> int | None:
    """Of the session that a process belongs to; None where processes are not grouped by session, or this one is not.

    Raises:
        OSError: the process is gone.
    """
    path = _autogroup(pid)
    if not path.exists():
        return None
    words = path.read_text().split()  # none at all for a process whose session began before the system grouped
    return int(words[-1]) if words else None


def restore_session() -> None:
    """Of this process, if it leads one. Blocks, for some tenths of a second at worst; not for an event loop."""
    pid = os.getpid()
    try:
        if os.getsid(0) != pid or not session_nice(pid):
            return
    except OSError:
        return
    for _ in range(_TRIES):
        try:
            _autogroup(pid).write_text("0")
        except BlockingIOError:
            time.sleep(_AGAIN_S)
        except OSError as error:
            log.warning("the session's niceness cannot be put back", extra={"reason": str(error)})
            return
        else:
            return
    log.warning("the session's niceness cannot be put back", extra={"reason": "others change theirs all the time"})


def lower_thread(nice: int) -> None:
    """Of this thread only, for good, where the system has such a thing (Linux)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    except (OSError, AttributeError):
        log.debug("niceness cannot be set")


def restore_threads() -> None:
    """Raise the threads of this process that are lower than its first one, but for the calling thread."""
    if sys.platform != "linux":
        return
    own, kept = os.getpriority(os.PRIO_PROCESS, os.getpid()), 0
    for name in os.listdir("/proc/self/task"):
        thread = int(name)
        try:
            if thread != threading.get_native_id() and os.getpriority(os.PRIO_PROCESS, thread) > own:
                os.setpriority(os.PRIO_PROCESS, thread, own)
        except PermissionError:
            kept += 1
        except ProcessLookupError:  # it has just ended
            continue
    if kept:
        log.warning(
            "threads that a framework made while loading keep its low priority: give the worker CAP_SYS_NICE or a"
            " RLIMIT_NICE of 20, or set supervise.nice to 0",
            extra={"threads": kept},
        )


def may_raise() -> bool:
    """Whether this process may take niceness back."""
    if sys.platform != "linux":
        return False
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - os.getpriority(os.PRIO_PROCESS, 0):
        return True
    status = Path("/proc/self/status").read_text()
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & _CAP_SYS_NICE)


def _autogroup(pid: int) -> Path:
    return Path(f"/proc/{pid}/autogroup")
