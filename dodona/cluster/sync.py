"""The local cluster for code without an event loop: scripts, notebooks, tests.

with running(settings) as cluster:
    cluster.ready()
    Client(f"grpc://{cluster.grpc_address}")
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from dodona.cluster.local import LocalCluster
from dodona.config.settings import ClusterSettings
from serving.agent.plan import VersionStatus

T = TypeVar("T")


class SyncCluster:
    """A LocalCluster whose event loop lives in a thread of its own. Make it with `running`."""

    def __init__(self, cluster: LocalCluster, loop: asyncio.AbstractEventLoop) -> None:
        self._cluster = cluster
        self._loop = loop

    @property
    def grpc_address(self) -> str:
        return self._cluster.grpc_address

    @property
    def http_address(self) -> str:
        return self._cluster.http_address

    @property
    def metrics_address(self) -> str:
        return self._cluster.metrics_address

    @property
    def versions(self) -> Sequence[VersionStatus]:
        return self._cluster.versions

    @property
    def pids(self) -> dict[str, int]:
        return self._cluster.pids

    def ready(self, timeout_s: float | None = None) -> Sequence[VersionStatus]:
        """See LocalCluster.ready."""
        return _call(self._loop, self._cluster.ready(timeout_s))


@contextmanager
def running(settings: ClusterSettings) -> Iterator[SyncCluster]:
    """A started cluster, stopped at the end of the block. Raises ClusterError, ConfigurationError."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-cluster", daemon=True)
    thread.start()
    try:
        cluster = LocalCluster(settings)
        _call(loop, cluster.start())
        try:
            yield SyncCluster(cluster, loop)
        finally:
            _call(loop, cluster.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
