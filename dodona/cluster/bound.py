"""`python -m dodona.cluster.bound MODULE ...`: run a module that ends when its parent does, however the parent ends.

The parent holds our standard input open. When that ends, the module gets SIGTERM, as if asked politely, and if it has
not gone some time later it is ended. A pipe works on every system and for every way to die, SIGKILL included.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 60.0


def _watch() -> None:
    # os.read, not sys.stdin: a daemon thread must not hold a Python-level lock when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def main() -> None:
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
