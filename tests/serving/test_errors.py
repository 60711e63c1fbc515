"""One family of errors, one table for both protocols."""

import pytest

from protos import link_pb2
from serving import errors
from serving.errors import DodonaError, InternalError, from_status
from serving.status import HTTP_STATUS, Status

# The table of docs/reference/errors.md.
EXPECTED = {
    "InvalidRequest": ("INVALID_ARGUMENT", 400),
    "ModelNotFound": ("NOT_FOUND", 404),
    "RegionNotFound": ("NOT_FOUND", 404),
    "AlreadyRegistered": ("ALREADY_EXISTS", 409),
    "Unauthenticated": ("UNAUTHENTICATED", 401),
    "PermissionDenied": ("PERMISSION_DENIED", 403),
    "Shed": ("RESOURCE_EXHAUSTED", 429),
    "TooLarge": ("RESOURCE_EXHAUSTED", 413),
    "Unavailable": ("UNAVAILABLE", 503),
    "DeadlineExceeded": ("DEADLINE_EXCEEDED", 504),
    "Cancelled": ("CANCELLED", 499),
    "ModelFailed": ("INTERNAL", 500),
    "InternalError": ("INTERNAL", 500),
    "Unimplemented": ("UNIMPLEMENTED", 501),
    "BundleError": ("FAILED_PRECONDITION", 400),
    "ConfigurationError": ("FAILED_PRECONDITION", 400),
}


def test_every_error_is_in_the_table() -> None:
    """Walks all subclasses: a new one must say what it is on both protocols."""
    family = {name: cls for name, cls in vars(errors).items() if isinstance(cls, type) and cls is not DodonaError}
    found = {name: cls for name, cls in family.items() if issubclass(cls, DodonaError)}
    assert {name: (cls.status.name, cls("x").http_status) for name, cls in found.items()} == EXPECTED


def test_every_status_has_an_http_form() -> None:
    """No status can leave an edge without a code."""
    assert set(HTTP_STATUS) == set(Status)


def test_text_names_field_and_remedy() -> None:
    """The same sentence on both protocols."""
    error = errors.InvalidRequest("has 3 elements", field="inputs[0].shape", remedy="send 4")
    assert str(error) == "inputs[0].shape: has 3 elements; send 4"


def test_text_can_always_be_sent() -> None:
    """A model may complain in words that are no UTF-8; the answer must reach the caller all the same."""
    error = errors.ModelFailed("bad \ud800 file")
    assert str(error) == "bad \\ud800 file"
    assert link_pb2.Failure(message=error.message).SerializeToString()


@pytest.mark.parametrize("status", list(Status))
def test_errors_survive_the_link(status: Status) -> None:
    """A status that has a class keeps its number; any other is a fault of ours."""
    error = from_status(status, "text", field="f", remedy="r", retry_after_s=2)
    known = {value[0] for value in EXPECTED.values()} - {"FAILED_PRECONDITION"}
    assert error.status is (status if status.name in known else Status.INTERNAL)
    assert (error.message, error.field, error.remedy, error.retry_after_s) == ("text", "f", "r", 2)


def test_unknown_number_is_internal() -> None:
    """A peer of a newer protocol may send a status we do not know."""
    assert type(from_status(99, "x")) is InternalError
