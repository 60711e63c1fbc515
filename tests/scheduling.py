"""What this machine's scheduler does, for the tests of low priority."""

from pathlib import Path

import pytest

_SWITCH = Path("/proc/sys/kernel/sched_autogroup_enabled")

grouped_by_session = pytest.mark.skipif(
    not _SWITCH.exists() or _SWITCH.read_text().strip() != "1", reason="sessions have no niceness here"
)
