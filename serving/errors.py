"""Every failure a caller can see, as one small family of exceptions.

Inside, code raises these; each edge translates them once, through `status` (gRPC) and `http_status` (REST). The text
is the same on both: what is wrong, then how to put it right. A message never holds a stack trace or a file path of
the server.
"""

from typing import ClassVar

from serving.status import HTTP_STATUS, Status


def _encodable(text: str) -> str:
    """Text that every protocol and log can carry: a model's own words may hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class DodonaError(Exception):
    """Base class. `field` names the offending part of the request ("inputs[0].shape"), `remedy` what to do."""

    status: ClassVar[Status] = Status.INTERNAL
    request_id: str = ""
    """Which request it was, as logs know it; set by the client library on what it raises."""

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        remedy: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        message = _encodable(message)
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy
        self.retry_after_s = retry_after_s

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.status]

    def __str__(self) -> str:
        """The text a caller reads: `field: message; remedy`."""
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}; {self.remedy}" if self.remedy else text


class InvalidRequest(DodonaError):
    """The request itself is wrong and will be wrong again: malformed, wrong name, dtype, shape or value."""

    status = Status.INVALID_ARGUMENT


class ModelNotFound(DodonaError):
    """No such model, version, label, or route."""

    status = Status.NOT_FOUND


class RegionNotFound(DodonaError):
    """No region of shared memory of that name is registered."""

    status = Status.NOT_FOUND


class AlreadyRegistered(DodonaError):
    """The name is taken, maybe by another caller."""

    status = Status.ALREADY_EXISTS


class Unauthenticated(DodonaError):
    status = Status.UNAUTHENTICATED


class PermissionDenied(DodonaError):
    status = Status.PERMISSION_DENIED


class Shed(DodonaError):
    """Refused to protect the rest: queue full, deadline cannot be met, quota. Carries `retry_after_s`."""

    status = Status.RESOURCE_EXHAUSTED


class TooLarge(DodonaError):
    """A size limit was exceeded; the message names the setting that raises it."""

    status = Status.RESOURCE_EXHAUSTED

    @property
    def http_status(self) -> int:
        return 413


def above_limit(what: str, setting: str, limit: int) -> TooLarge:
    """`what` ("message of 9 bytes") against the setting that bounds it: the same words wherever a limit is met."""
    return TooLarge(f"{what} is above {setting} = {limit}", remedy="send less at once or raise the setting")


class Unavailable(DodonaError):
    """Known, but nothing can answer now: not ready, no replica, draining."""

    status = Status.UNAVAILABLE


class DeadlineExceeded(DodonaError):
    status = Status.DEADLINE_EXCEEDED


class Cancelled(DodonaError):
    """The caller went away."""

    status = Status.CANCELLED


class ModelFailed(DodonaError):
    """The model raised; the message is the model's own."""

    status = Status.INTERNAL


class InternalError(DodonaError):
    """A fault of Dodona's. The log has the details under the request id."""

    status = Status.INTERNAL


class Unimplemented(DodonaError):
    status = Status.UNIMPLEMENTED


class BundleError(DodonaError):
    """A serialised model cannot be served: bad model.yaml, digest, signature or golden example."""

    status = Status.FAILED_PRECONDITION


class ConfigurationError(DodonaError):
    """A setting is wrong; `field` is its path ("router.limits.max_message_bytes")."""

    status = Status.FAILED_PRECONDITION


_BY_STATUS: dict[Status, type[DodonaError]] = {
    cls.status: cls
    for cls in (
        InternalError,
        InvalidRequest,
        ModelNotFound,
        AlreadyRegistered,
        Unauthenticated,
        PermissionDenied,
        Shed,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
    )
}


def from_status(
    status: int, message: str, *, field: str = "", remedy: str = "", retry_after_s: float = 0.0
) -> DodonaError:
    """The error that crossed the wire as a number and a text; unknown numbers become `InternalError`."""
    try:
        cls = _BY_STATUS.get(Status(status), InternalError)
    except ValueError:
        cls = InternalError
    return cls(message, field=field, remedy=remedy, retry_after_s=retry_after_s)
