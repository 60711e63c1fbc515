"""What gRPC says went wrong, as Dodona's own errors. The one place where a foreign exception is translated."""

from collections.abc import Mapping
from typing import Final

from serving.errors import Cancelled, DeadlineExceeded, DodonaError, TooLarge, Unavailable, from_status
from serving.status import Status

# How C-core begins its texts for what never reached a server; all others come from one and are passed on as they are.
_UNREACHED: Final = (
    "failed to connect",
    "dns resolution failed",
    "name resolution",
    "connection refused",
    "empty address list",
    "errors resolving",
    "ssl_error",
)
# What it says where something listens that is no HTTP/2 server, such as our REST port.
_OTHER_PROTOCOL: Final = ("failed parsing http/2", "settings frame")
# How it words a deadline that passed here, before the server's own answer came.
_LATE: Final = ("", "deadline exceeded", "stream removed (deadline exceeded)")
_LOST: Final = ("socket closed", "connection reset", "stream removed", "broken pipe", "goaway", "recvmsg", "endpoint")


class Unreachable(Unavailable):
    """No server answered at the address at all."""


def translate(
    code: int, details: str, metadata: Mapping[str, str], *, address: str, timeout_s: float, request_id: str
) -> DodonaError:
    """`metadata` holds the initial and trailing metadata of the failed call; `timeout_s` what the caller allowed."""
    error = _error(code, details, metadata, address, timeout_s)
    error.request_id = metadata.get("x-request-id", request_id)
    return error


def _error(code: int, details: str, metadata: Mapping[str, str], address: str, timeout_s: float) -> DodonaError:
    text = details.lower()
    if code == Status.UNAVAILABLE and "x-request-id" not in metadata:
        unheard = _unheard(details, address)
        if unheard is not None:
            return unheard
    if code == Status.DEADLINE_EXCEEDED and text in _LATE:
        return DeadlineExceeded(f"no answer from {address} within {timeout_s:g} s", remedy="allow more with timeout_s=")
    if code == Status.RESOURCE_EXHAUSTED and "larger than max" in text:
        return TooLarge(details, remedy="raise max_message_bytes= of this client")
    if code == Status.CANCELLED and "channel closed" in text:
        return Cancelled("the client was closed while the call ran")
    return from_status(code, details or f"gRPC status {code}", retry_after_s=_retry_after(metadata))


def _unheard(details: str, address: str) -> Unavailable | None:
    """Why no server heard the call; None if one may have."""
    text = details.lower()
    if any(words in text for words in _OTHER_PROTOCOL):
        meant = "did you mean port 8001?" if address.endswith(":8000") else "REST and metrics have ports of their own"
        return Unreachable(
            f"nothing answers at {address} in gRPC, what listens there speaks another protocol ({meant})",
            remedy="give the gRPC address as url= or DODONA_URL",
        )
    if any(start in text for start in _UNREACHED):
        return Unreachable(
            f"nothing answers at {address}",
            remedy="start a cluster with `dodona up`, or give the right address as url= or DODONA_URL",
        )
    if any(start in text for start in _LOST):
        return Unavailable(f"the connection to {address} was lost: {details}", remedy="try again")
    return None


def _retry_after(metadata: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(metadata.get("retry-after-ms", "0")) / 1000)
    except ValueError:
        return 0.0
