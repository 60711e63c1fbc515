"""How the C library gives freed memory back to the system.

A process that makes and drops large buffers at a high rate pays a page fault every 4 KiB if each of them goes back to
the system at once: 100 faults for a request of 602 KB. glibc by itself keeps about twice the largest such buffer at the
end of its heap; several requests at once are more.
"""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 16 * 1024 * 1024
LARGEST_KEPT_BYTES: Final = 8 * 1024 * 1024


def keep_freed_buffers() -> bool:
    """Keep up to `KEPT_BYTES` at the end of the heap, and buffers above `LARGEST_KEPT_BYTES` out of it: those go back
    at once. False where the C library is not glibc; nothing changes then."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
