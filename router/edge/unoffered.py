"""What the protocol has and Dodona does not: the reasons, in the same words over gRPC and REST."""

from typing import Final

from serving.errors import Unimplemented

CUDA_SHARED_MEMORY: Final = (
    "CUDA shared memory is not offered: tensors are taken from and put into main memory",
    "use system shared memory, or send the tensors themselves",
)
TRACE: Final = (
    "changing trace settings over the wire is not offered",
    "set router.tracing in dodona.yaml; a W3C traceparent decides for its own request",
)
LOG: Final = (
    "changing log settings over the wire is not offered",
    "set router.log_level in dodona.yaml and restart the router",
)


def unoffered(why: tuple[str, str], field: str = "") -> Unimplemented:
    """The error for one of the reasons above."""
    return Unimplemented(why[0], field=field, remedy=why[1])
