"""What callers say about kept answers, and what they are told: Cache-Control (RFC 9111) and Cache-Status (RFC 9211), as
HTTP headers and as gRPC metadata of the same names."""

from typing import Protocol

from router.front.calls import Metadata
from router.request import Inference


class CacheUser(Protocol):
    """A caller with headers of its own."""

    cache_status: str

    @property
    def cache_control(self) -> str: ...


def cache_control(metadata: Metadata) -> str:
    return ", ".join([value for name, value in metadata if name == "cache-control" and isinstance(value, str)])


def heed(inference: Inference, directives: str) -> None:
    """`no-store`: the request runs by itself and leaves nothing behind. `no-cache` and `max-age=0`: it runs by itself,
    and its answer is kept for others. Whatever else there may be is not for us."""
    share = inference.share
    if not directives or share is None:
        return
    said = {directive.strip().lower() for directive in directives.split(",")}
    if "no-store" in said:
        share.looks = share.stores = False
    elif "no-cache" in said or "max-age=0" in said:
        share.looks = False
