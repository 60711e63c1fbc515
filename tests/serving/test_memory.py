import subprocess
import sys

import pytest

from serving.memory import KEPT_BYTES

MEASURE = """
import resource, sys
from serving.memory import keep_freed_buffers

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    assert keep_freed_buffers()
for _ in range(3):
    buffers = [bytes([1]) * 600_000 for _ in range(16)]
    del buffers
before = faults()
for _ in range(20):
    buffers = [bytes([1]) * 600_000 for _ in range(16)]
    del buffers
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is the C library of Linux that is told")
def test_buffers_of_large_tensors_stay() -> None:
    """Sixteen of 600 KB at a time, again and again: the pages are not asked for anew."""

    def faults(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert KEPT_BYTES > 16 * 600_000
    assert faults("kept") < 200
