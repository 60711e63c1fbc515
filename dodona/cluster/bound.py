"""`python -m dodona.cluster.bound GRACE_S MODULE ...`: run a module that ends when its parent does, whatever ends that.

The parent holds our standard input open. When that ends, the module gets SIGTERM, as if asked politely, and if it has
not gone GRACE_S seconds later it is ended. A pipe works on every system and for every way to die, SIGKILL included.
"""

import os
import runpy
import signal
import sys
import threading
import time


def _watch(grace_s: float) -> None:
    # os.read, not sys.stdin: a daemon thread must not hold a Python-level lock when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(1)


def main() -> None:
    grace_s = float(sys.argv[1])
    threading.Thread(target=_watch, args=(grace_s,), name="parent-watch", daemon=True).start()
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
