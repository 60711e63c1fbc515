"""Shared memory as this router offers it: the registry where it is switched on, a refusal where it is not."""

import os
from ipaddress import ip_address
from typing import Final

from router.settings import RouterSettings
from serving.errors import Unimplemented
from serving.shared_memory.registry import MEMORY, Registry, default_name, folder_of

_OFF: Final = (
    "shared memory is switched off",
    "send the tensors themselves, or set router.shared_memory.enabled: true where callers are on the server's machine",
)


class SharedRegions:
    """`folder` is what workers are told, "" where shared memory is off."""

    def __init__(self, settings: RouterSettings) -> None:
        self._registry = _registry_of(settings)
        self.folder = str(self._registry.folder) if self._registry is not None else ""

    @property
    def offered(self) -> bool:
        return self._registry is not None

    @property
    def registry(self) -> Registry:
        """Raises Unimplemented where shared memory is off."""
        if self._registry is None:
            raise Unimplemented(_OFF[0], remedy=_OFF[1])
        return self._registry

    def start(self) -> None:
        """Raises OSError."""
        if self._registry is not None:
            self._registry.start()

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()


def _registry_of(settings: RouterSettings) -> Registry | None:
    wanted = settings.shared_memory
    on = _only_from_here(settings.host) and os.path.isdir(MEMORY) if wanted.enabled == "auto" else wanted.enabled
    if not on:
        return None
    name = wanted.registry or default_name(settings.link.address, f"{settings.host}:{settings.grpc_port}")
    return Registry(folder_of(name), max_regions=wanted.max_regions)


def _only_from_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
