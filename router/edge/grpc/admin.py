"""dodona.admin.v1.Admin: what the router knows of itself, for `dodona status`."""

from typing import Final

from protos import admin_pb2
from router.core import Core
from router.edge import describe
from router.edge.grpc.rpc import waiting
from router.front.calls import Methods

SERVICE: Final = "dodona.admin.v1.Admin"


def admin(core: Core) -> Methods:
    """Path -> method."""
    return {f"/{SERVICE}/Status": waiting(admin_pb2.StatusRequest, lambda _: describe.status(core))}
