"""The bytes that kept answers are counted with are those that they take."""

import subprocess
import sys

import pytest

FILL = """
import gc, sys
from router.policy.replies import Replies
from router.policy.sharing import key_of

def private():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean"))) * 1024

key_bytes, answer_bytes = map(int, sys.argv[1:])
replies = Replies(24_000_000)
shelf = replies.shelf()
gc.collect()
before = private()
number = 0
while replies.bytes < 23_900_000 and number < 200_000:
    number += 1
    raw = number.to_bytes(8, "little") + bytes(key_bytes - 8)
    message = b"\\x0a\\x01m\\x3a" + bytes((len(raw) & 0x7F | 0x80, len(raw) >> 7 & 0x7F | 0x80, len(raw) >> 14)) + raw
    shelf._trust = 1  # as if they had been asked for
    shelf.put(key_of(message, 3), number.to_bytes(8, "little") * (answer_bytes // 8), 0.0)
print(replies.bytes, private() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what memory is a process's own")
@pytest.mark.parametrize(("key_bytes", "answer_bytes"), [(16, 16), (140, 64), (1000, 400), (60_000, 4000)])
def test_counted_bytes_are_those_of_the_process(key_bytes: int, answer_bytes: int) -> None:
    """Filled to its bound, the process has grown by no more than was counted, and by no less than four fifths."""
    arguments = [sys.executable, "-c", FILL, str(key_bytes), str(answer_bytes)]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout
    counted, grown = map(int, printed.split())
    assert 0.8 * counted <= grown <= 1.03 * counted
