"""How many processors may be used, by the files that Linux tells it in."""

import os

import pytest

from serving.cores import usable_cores

ALLOWED = float(len(os.sched_getaffinity(0)))


def group(root, path, **files):
    """A control group with these files; `cpu_max` is `cpu.max`."""
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/", {"": "50000 100000"}, 0.5),
        ("0::/pod/box", {"pod/box": "25000 100000"}, 0.25),
        ("0::/pod/box", {"pod": "50000 100000", "pod/box": "75000 100000"}, 0.5),
        ("0::/pod/box", {"pod/box": "max 100000"}, ALLOWED),
        ("0::/the/hosts/own", {"": "50000 100000"}, 0.5),
        ("0::/", {"": "nonsense"}, ALLOWED),
        ("0::/", {"": "50000 0"}, ALLOWED),
        ("0::/", {}, ALLOWED),
        ("", {}, ALLOWED),
    ],
)
def test_a_container_has_its_share(tmp_path, own, limits, expected):
    """The least of affinity and of the limits of the group and those around it; nonsense is no limit."""
    for path, text in limits.items():
        group(tmp_path / "groups", path, cpu_max=text)
    (tmp_path / "own").write_text(own + "\n")
    assert usable_cores(tmp_path / "groups", tmp_path / "own") == expected


def test_older_systems_have_other_files(tmp_path):
    """Version 1 of control groups."""
    group(tmp_path / "cpu", "box", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    group(tmp_path / "cpu", "free", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    for path, expected in (("box", 0.5), ("free", ALLOWED)):
        (tmp_path / "own").write_text(f"4:memory:/elsewhere\n3:cpu,cpuacct:/{path}\n")
        assert usable_cores(tmp_path, tmp_path / "own") == expected


def test_affinity_counts(tmp_path):
    """A process pinned to one processor has one, whatever the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path, tmp_path / "none") == 1.0
    finally:
        os.sched_setaffinity(0, before)
