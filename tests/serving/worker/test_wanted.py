import pytest

from protos import inference_pb2
from serving.errors import InvalidRequest, Unimplemented
from serving.spec import Signature, TensorSpec
from serving.worker.request import WantedOutput
from serving.worker.wanted import wanted_outputs

SIGNATURE = Signature((), (TensorSpec("p", "FP32", (3,)), TensorSpec("t", "BYTES", ())))


def wanted(name: str, **parameters: object) -> inference_pb2.ModelInferRequest.InferRequestedOutputTensor:
    output = inference_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name)
    for key, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(output.parameters[key], kind, value)
    return output


def test_classes_may_be_asked_for() -> None:
    """The classification parameter travels with its output; other parameters are none of ours."""
    asked = [wanted("p", classification=2), wanted("t", binary_data=True)]
    assert wanted_outputs(asked, SIGNATURE) == (WantedOutput(0, 2), WantedOutput(1))


@pytest.mark.parametrize("count", [0, -1, "2"])
def test_the_number_of_classes_is_positive(count: object) -> None:
    """Anything but a positive integer is refused."""
    with pytest.raises(InvalidRequest, match=r"outputs\[0\].parameters.classification: not a positive integer"):
        wanted_outputs([wanted("p", classification=count)], SIGNATURE)


def test_texts_have_no_classes() -> None:
    """Classes of an output without an order are refused."""
    with pytest.raises(InvalidRequest, match="BYTES values have no order; ask for the output itself"):
        wanted_outputs([wanted("t", classification=1)], SIGNATURE)


def test_shared_memory_that_is_off() -> None:
    """An output into shared memory is refused as unimplemented, by field, where no router offers any."""
    with pytest.raises(Unimplemented, match=r"outputs\[0\].parameters.shared_memory_region"):
        wanted_outputs([wanted("p", shared_memory_region="r", shared_memory_byte_size=12)], SIGNATURE)
