"""Every known attack against a running cluster, on both fronts: a well-behaved caller beside it loses nothing."""

import asyncio
from pathlib import Path

import pytest

from dodona.cluster import running
from loadtests.attack_kinds import ATTACKS
from loadtests.attacks import cluster_settings, withstand

SECONDS = 0.15
# Of the caller's median. Wide, because the attacker takes its share of a machine that may be busy: what this finds
# is a server that stands still. `python -m loadtests.attacks` has the figures.
MOST_TIMES = 20
SLACK_MS = 1000.0

FLOODS = {"ping", "settings", "priority", "empty data", "unknown frames", "continuation", "garbage"}


# The core treats most floods alike, as frames to read; each stands here for its kind.
ON_GRPCIO = {"rapid reset", "made you reset", "continuation", "header bomb", "ping", "read nothing", "window stall"}


@pytest.mark.parametrize("front", ["http2", "grpcio"])
def test_a_well_behaved_caller_beside_attackers(front: str, tmp_path: Path) -> None:
    """None of its calls fails or is answered wrongly or stands still; our own front ends every flood."""
    attacks = [attack for attack in ATTACKS if front == "http2" or attack.name in ON_GRPCIO]
    with running(cluster_settings(tmp_path, front)) as cluster:
        cluster.ready(30)
        results = asyncio.run(withstand(cluster.grpc_address, attacks, SECONDS))
    assert [one.attack for one in results] == [attack.name for attack in attacks]
    for one in results:
        assert one.faults == [], one
        assert one.calls, one
        assert one.during_ms[0] <= MOST_TIMES * one.quiet_ms[0] + SLACK_MS, one
    if front == "http2":
        assert {one.attack for one in results if any(how.startswith("GOAWAY") for how in one.ends)} >= FLOODS
