"""The router as a child process."""

import asyncio

from dodona.cluster.router import RouterProcess
from router.settings import RouterSettings


def test_an_orphaned_router_keeps_its_whole_grace(tmp_path):
    """The watch that ends a router without parent waits longer than drain_grace_s, however long that is."""

    async def scenario() -> tuple[str, ...]:
        return RouterProcess(RouterSettings(drain_grace_s=600), tmp_path / "router.json").command

    assert asyncio.run(scenario())[3:6] == ("dodona.cluster.bound", "605", "router")
