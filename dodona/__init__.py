"""What a user touches: the client library, the command line, a cluster on this machine, packing.

Names are imported on first use, so that `import dodona` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dodona.client.aio import AsyncClient
    from dodona.client.description import Description, ModelEntry
    from dodona.client.prediction import Prediction
    from dodona.client.sync import Client
    from serving import errors
    from serving.errors import (
        Cancelled,
        DeadlineExceeded,
        DodonaError,
        InvalidRequest,
        ModelFailed,
        ModelNotFound,
        Shed,
        TooLarge,
        Unavailable,
        Unimplemented,
    )

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "dodona.client.aio",
    "Client": "dodona.client.sync",
    "Description": "dodona.client.description",
    "ModelEntry": "dodona.client.description",
    "Prediction": "dodona.client.prediction",
    "Cancelled": "serving.errors",
    "DeadlineExceeded": "serving.errors",
    "DodonaError": "serving.errors",
    "InvalidRequest": "serving.errors",
    "ModelFailed": "serving.errors",
    "ModelNotFound": "serving.errors",
    "Shed": "serving.errors",
    "TooLarge": "serving.errors",
    "Unavailable": "serving.errors",
    "Unimplemented": "serving.errors",
}

__all__ = [
    "AsyncClient",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "Description",
    "DodonaError",
    "InvalidRequest",
    "ModelEntry",
    "ModelFailed",
    "ModelNotFound",
    "Prediction",
    "Shed",
    "TooLarge",
    "Unavailable",
    "Unimplemented",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("serving.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dodona' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
