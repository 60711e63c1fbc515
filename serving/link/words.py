"""Errors, states and tensors in the link's words, and back: one table for all who speak over it."""

from typing import Final

from protos import link_pb2
from serving.errors import DodonaError, from_status
from serving.spec import State, TensorSpec

_STATES: Final = {
    State.UNAVAILABLE: link_pb2.STATE_UNAVAILABLE,
    State.LOADING: link_pb2.STATE_LOADING,
    State.READY: link_pb2.STATE_READY,
    State.UNLOADING: link_pb2.STATE_UNLOADING,
    State.FAILED: link_pb2.STATE_FAILED,
}
_FROM_STATES: Final = {message: state for state, message in _STATES.items()}


def failure_of(error: DodonaError, index: int) -> link_pb2.Failure:
    """`index`: of the request among those of its Results frame."""
    return link_pb2.Failure(
        index=index,
        status=int(error.status),
        message=error.message,
        field=error.field,
        remedy=error.remedy,
        retry_after_s=error.retry_after_s,
    )


def error_of(failure: link_pb2.Failure) -> DodonaError:
    return from_status(
        failure.status,
        failure.message,
        field=failure.field,
        remedy=failure.remedy,
        retry_after_s=failure.retry_after_s,
    )


def state_message(state: State) -> link_pb2.State:
    return _STATES[state]


def state_of(message: link_pb2.State) -> State:
    """A state of a newer protocol, which we do not know, is UNAVAILABLE."""
    return _FROM_STATES.get(message, State.UNAVAILABLE)


def tensor_message(spec: TensorSpec) -> link_pb2.TensorSpec:
    return link_pb2.TensorSpec(
        name=spec.name,
        datatype=spec.datatype,
        shape=spec.shape,
        columns=spec.columns,
        labels=spec.labels,
        refuses_nan=not spec.allow_nan,
    )


def tensor_spec(message: link_pb2.TensorSpec) -> TensorSpec:
    return TensorSpec(
        message.name,
        message.datatype,
        tuple(message.shape),
        tuple(message.columns),
        tuple(message.labels),
        not message.refuses_nan,
    )
