"""One timer for many moments."""

import asyncio

import pytest
import uvloop

from router.alarm import Alarm
from tests.router.cluster import Cluster


def test_the_earliest_moment_wins_and_rings_once() -> None:
    """Later moments change nothing, an earlier one moves the timer."""
    cluster = Cluster()
    rung: list[float] = []
    alarm = Alarm(cluster._call_at, lambda: rung.append(cluster.now))
    for at in (105.0, 103.0, 104.0):
        alarm.set(at)
    alarm.set(None)
    assert [timer.when for timer in cluster.timers] == [103.0]
    cluster.advance(10)
    assert rung == [110.0]
    assert cluster.timers == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_moment_that_has_come_already(new_loop: type) -> None:
    """uvloop gives no timer for it; a later moment, and an earlier one, can be set all the same."""
    loop = new_loop()
    rung: list[int] = []

    async def main() -> None:
        alarm = Alarm(loop.call_at, lambda: rung.append(1))
        alarm.set(loop.time() - 1)
        alarm.set(loop.time() - 2)
        alarm.set(loop.time() + 100)
        while not rung:
            await asyncio.sleep(0)
        alarm.set(loop.time() + 100)
        alarm.cancel()

    try:
        loop.run_until_complete(asyncio.wait_for(main(), 5))
    finally:
        loop.close()
    assert rung == [1]
