import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import priority
from serving.priority import lower_session, lower_thread, may_raise, restore_session, restore_threads, session_nice
from tests.scheduling import grouped_by_session

_SET_DUMPABLE = 4

root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")


@grouped_by_session
@pytest.mark.parametrize("leads", [True, False])
def test_a_childs_session_is_lowered_and_puts_itself_back(leads: bool) -> None:
    """Its own only: a child that shares our session is left alone."""
    code = "import serving.priority as p; input(); p.restore_session(); print(flush=True); input()"
    before = session_nice(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=leads
    ) as child:
        lower_session(child.pid, 7)
        assert session_nice(child.pid) == (7 if leads else before)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert session_nice(child.pid) == (0 if leads else before)
        child.communicate(b"\n")
    assert child.returncode == 0
    assert session_nice(os.getpid()) == before


@pytest.mark.parametrize("text", [None, ""])
def test_a_process_that_no_session_groups_has_no_niceness_of_one(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel has no such file, or an empty one for what began while grouping was off; neither is a fault."""
    file = tmp_path / "autogroup"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(priority, "_autogroup", lambda _: file)
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    assert session_nice(os.getpid()) is None
    restore_session()
    assert not file.exists() or not file.read_text()


def in_another_users_session(check: Callable[[], bool]) -> bool:
    """What a process without privilege finds, the leader of a session of its own."""
    pid = os.fork()
    if not pid:
        found = False
        try:
            os.setsid()
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1)  # else /proc/self stays root's, which it does not after an exec
            found = check()
        finally:
            os._exit(0 if found else 1)
    return os.waitpid(pid, 0)[1] == 0


@grouped_by_session
@root
def test_without_privilege_a_session_can_be_put_back_and_threads_cannot() -> None:
    """Which is why the session's niceness is what counts, and threads that serve are not lowered then."""

    def check() -> bool:
        for _ in range(100):  # the system takes one change every tenth of a second, whoever makes it
            lower_session(os.getpid(), 19)
            low = session_nice(os.getpid())
            if low == 19:
                break
            threading.Event().wait(0.05)
        restore_session()
        return not may_raise() and (low, session_nice(os.getpid())) == (19, 0)

    assert in_another_users_session(check)


@grouped_by_session
def test_threads_made_while_loading_are_raised_where_that_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    """A framework's threads inherit the loading thread's niceness; where they must keep it, the log says what to do."""
    done, lowered = threading.Event(), threading.Event()
    threads: list[int] = []

    def load() -> None:
        lower_thread(3)
        threading.Thread(target=pool).start()

    def pool() -> None:
        threads.append(threading.get_native_id())
        lowered.set()
        done.wait(10)

    threading.Thread(target=load).start()
    lowered.wait(10)
    assert os.getpriority(os.PRIO_PROCESS, threads[0]) == 3
    with caplog.at_level(logging.WARNING):
        restore_threads()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, threads[0]) == (own if may_raise() else 3)
    assert ("CAP_SYS_NICE" in caplog.text) is not may_raise()
    done.set()


@grouped_by_session
def test_a_process_that_is_gone_is_no_fault() -> None:
    """A child may die before it is lowered."""
    child = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    child.wait()
    lower_session(child.pid, 7)
