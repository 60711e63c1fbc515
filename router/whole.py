"""A router may be several processes on one port (`router.processes`). What a caller asks of the router as a whole, an
edge asks here; a process that is alone answers for itself.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from protos import admin_pb2
from router.statistics import Statistics
from serving.spec import ModelSpec


class Whole(Protocol):
    @property
    def others_ready(self) -> bool:
        """Whether every other process is ready."""

    async def others_status(self) -> Sequence[admin_pb2.StatusResponse]:
        """What the other processes say of themselves."""

    async def statistics(self) -> Mapping[ModelSpec, Statistics] | None:
        """Of all processes; None = ours are all there are."""

    async def caught_up(self) -> None:
        """Returns once every process has taken in what workers and agents had sent before this was asked."""


class Alone:
    others_ready = True

    async def others_status(self) -> Sequence[admin_pb2.StatusResponse]:
        return ()

    async def statistics(self) -> Mapping[ModelSpec, Statistics] | None:
        return None

    async def caught_up(self) -> None:
        return
