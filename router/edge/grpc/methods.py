"""The table of all gRPC methods, which either front serves."""

from router.core import Core
from router.edge.grpc import admin, health, reflection, service
from router.edge.grpc.infer import model_infer
from router.edge.grpc.stream import model_stream_infer
from router.front.calls import Methods

SERVICES = (service.SERVICE, admin.SERVICE, health.SERVICE, *reflection.SERVICES)


def methods(core: Core) -> Methods:
    """Path -> method, for every RPC of every service."""
    return {
        f"/{service.SERVICE}/ModelInfer": model_infer(core),
        f"/{service.SERVICE}/ModelStreamInfer": model_stream_infer(core),
        **service.service(core),
        **admin.admin(core),
        **health.health(core, SERVICES),
        **reflection.reflection(SERVICES),
    }
