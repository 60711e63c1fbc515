import pytest

from protos import inference_pb2
from router.edge.rest.parameters import mapping, read_parameters, write_parameters
from serving.errors import InvalidRequest


def test_values_keep_their_types() -> None:
    """Booleans are not integers, and integers beyond 63 bits go out unsigned."""
    values = {"a": True, "b": -3, "c": 2**63, "d": 0.5, "e": "text", "f": 2**63 - 1}
    request = inference_pb2.ModelInferRequest()
    write_parameters(values, request.parameters, "parameters")
    assert request.parameters["a"].WhichOneof("parameter_choice") == "bool_param"
    assert request.parameters["c"].WhichOneof("parameter_choice") == "uint64_param"
    assert read_parameters(request.parameters) == values


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, 2**64, -(2**63) - 1])
def test_what_has_no_form_is_refused(value: object) -> None:
    """Lists, objects, null and integers beyond 64 bits are named."""
    with pytest.raises(InvalidRequest, match=r"parameters\.x: "):
        write_parameters({"x": value}, inference_pb2.ModelInferRequest().parameters, "parameters")


def test_absent_is_empty() -> None:
    """KServe's client sends null for what it has not."""
    assert mapping(None, "parameters") == {}
    with pytest.raises(InvalidRequest, match="parameters: must be an object"):
        mapping([], "parameters")
