"""What one end of a link says the other end understands as it was meant."""

import pytest

from serving.errors import InvalidRequest, Shed
from serving.link.words import error_of, failure_of, state_message, state_of, tensor_message, tensor_spec
from serving.spec import State, TensorSpec


@pytest.mark.parametrize("error", [InvalidRequest("m", field="f", remedy="r"), Shed("full", retry_after_s=0.25)])
def test_errors_come_back(error):
    """Kind, text, field, remedy and delay."""
    failure = failure_of(error, 3)
    back = error_of(failure)
    assert failure.index == 3
    assert type(back) is type(error)
    assert (str(back), back.retry_after_s) == (str(error), error.retry_after_s)


@pytest.mark.parametrize("state", State)
def test_states_come_back(state):
    """Every one of them."""
    assert state_of(state_message(state)) is state


def test_states_of_a_newer_protocol_cannot_be_served():
    """A number we do not know is no reason to fail."""
    assert state_of(99) is State.UNAVAILABLE


def test_tensors_come_back():
    """With columns, labels and what they think of NaN."""
    spec = TensorSpec("x", "FP32", (-1, 3), ("a", "b", "c"), ("cat", "dog"), allow_nan=False)
    assert tensor_spec(tensor_message(spec)) == spec
