"""How many processors this process may really use: affinity, and the share that a container is given.

`os.cpu_count()` is the machine's: in a container limited to 2 of 64 processors, 64 threads would take turns on 2.
"""

import os
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def usable_cores(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """Processors' worth of time, at least a hundredth; not always a whole number. Never raises."""
    try:
        allowed = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # no Linux
        allowed = float(os.cpu_count() or 1)
    return max(0.01, min([allowed, *_limits(groups, own)]))


def _limits(groups: Path, own: Path) -> list[float]:
    """Of the control group of this process and of those around it (version 2, else version 1)."""
    paths = _paths(own)
    unified = paths.get("", "/")
    limits = [_unified(folder / "cpu.max") for folder in _upwards(groups, unified)]
    limits += [_legacy(folder) for folder in _upwards(groups / "cpu", paths.get("cpu", "/"))]
    return [limit for limit in limits if limit is not None]


def _paths(own: Path) -> dict[str, str]:
    """Controller -> path of our group; version 2 has no controllers' names here."""
    paths = {}
    for line in _read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _upwards(root: Path, path: str) -> list[Path]:
    """The group's folder and those around it. In a container the path may be that of the host: only the root is there
    then, and it is the container's own."""
    folder = root / path.strip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _unified(path: Path) -> float | None:
    return _share(*_read(path).split()[:2])


def _legacy(folder: Path) -> float | None:
    return _share(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _share(quota: str = "", period: str = "") -> float | None:
    """None = no limit: `max`, -1, or no such file."""
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
