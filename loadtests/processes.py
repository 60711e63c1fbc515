"""CPU and memory of servers under test: a process with all its descendants."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far and resident bytes, by process: "router", or a worker's or server's name."""

    cpu_s: dict[str, float]
    rss: dict[str, int]


def usage(pids: Mapping[str, int]) -> Usage:
    """Of each process with all its descendants; what exited descendants used is in their parents' count."""
    cpu_s, rss = {}, {}
    for name, pid in pids.items():
        family = tree(pid)
        cpu_s[name] = sum(_cpu_s(each) for each in family)
        rss[name] = sum(_resident(each) for each in family)
    return Usage(cpu_s, rss)


def exact_cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds so far of processes with all their descendants, to the nanosecond where the system counts so; else
    to its clock tick of 10 ms. Threads that have ended are not in it, so it is for loads that start none."""
    total = 0.0
    for pid in pids:
        for each in tree(pid):
            tasks = list(Path(f"/proc/{each.pid}/task").glob("*/schedstat"))
            total += sum(int(task.read_text().split()[0]) for task in tasks) / 1e9 if tasks else _cpu_s(each)
    return total


def pss(pids: Mapping[str, int], *, family: bool = True) -> int:
    """Proportional set size in bytes, shared pages counted once over all; plain resident size where the system has no
    such figure. With all descendants unless not `family`. Costs milliseconds a process: not for use during a load."""
    total = 0
    for pid in pids.values():
        for each in tree(pid) if family else [psutil.Process(pid)]:
            try:
                total += each.memory_full_info().pss if sys.platform == "linux" else _resident(each)
            except psutil.Error:
                continue
    return total


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
