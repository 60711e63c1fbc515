"""On what the figures were taken: they mean nothing elsewhere."""

import os
import platform
import subprocess
from pathlib import Path

import psutil

from loadtests import h2load


def description() -> dict[str, str]:
    """Words by what they say, ready for a table."""
    client = subprocess.run([h2load.command(), "--version"], capture_output=True, text=True, check=False)
    return {
        "CPU": cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "client": client.stdout.strip() or "h2load",
    }


def cpu_model() -> str:
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load_average() -> float:
    """Processes that wanted a core in the last minute: much above 0 before the start means a machine in use."""
    return os.getloadavg()[0]
