"""A whole cluster on this machine: `async with LocalCluster(settings) as cluster`, or `with running(settings)`."""

from dodona.cluster.local import ClusterError, LocalCluster
from dodona.cluster.sync import SyncCluster, running

__all__ = ["ClusterError", "LocalCluster", "SyncCluster", "running"]
