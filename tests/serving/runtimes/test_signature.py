import pytest

from serving.bundle.definition import TensorDefinition
from serving.errors import BundleError
from serving.runtimes.signature import check_columns, declared_signature, reconcile
from serving.spec import TensorSpec
from tests.serving.runtimes.models import definition

FOUND = (TensorSpec("age", "FP32", (-1,)), TensorSpec("text", "BYTES", (2,)))


def tensor(name: str, datatype: str, *shape: int, **more: object) -> TensorDefinition:
    return TensorDefinition.model_validate({"name": name, "datatype": datatype, "shape": shape, **more})


def test_nothing_declared_means_as_the_model_says() -> None:
    """An empty list in model.yaml takes the model's own tensors."""
    assert reconcile(FOUND, (), "inputs") == FOUND


def test_declared_tensors_add_what_the_model_cannot_know() -> None:
    """Columns, labels, allow_nan and an extent the file leaves open come from model.yaml."""
    declared = (tensor("age", "FP32", 2, columns=("a", "b"), allow_nan=False), tensor("text", "BYTES", -1))
    assert reconcile(FOUND, declared, "inputs") == (
        TensorSpec("age", "FP32", (2,), ("a", "b"), (), False),
        TensorSpec("text", "BYTES", (2,)),
    )


def test_a_shape_that_is_left_out_is_the_models() -> None:
    """So that model.yaml can say one thing of a tensor without repeating the rest; no extents are extents too."""
    age = TensorDefinition(name="age", datatype="FP32", allow_nan=False)
    assert reconcile(FOUND, (age, tensor("text", "BYTES", 2)), "inputs")[0] == TensorSpec(
        "age", "FP32", (-1,), allow_nan=False
    )
    with pytest.raises(BundleError, match=r"in the model, \[\] in model\.yaml"):
        reconcile(FOUND, (tensor("age", "FP32"), tensor("text", "BYTES", 2)), "inputs")


def test_outputs_may_be_a_choice() -> None:
    """Listing some outputs serves those only, in that order."""
    assert reconcile(FOUND, (tensor("text", "BYTES", 2),), "outputs") == (FOUND[1],)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ((tensor("ages", "FP32", 2),), r"inputs\[0\].name: 'ages' is not in the model, which has age, text"),
        ((tensor("age", "FP32", 2),), r"model.yaml.inputs: the model also needs text; list every input"),
        ((tensor("age", "FP64", 2), tensor("text", "BYTES", 2)), "'age' is FP32 in the model, FP64 in model.yaml"),
        (
            (tensor("age", "FP32", 2), tensor("text", "BYTES", 3)),
            r"inputs\[1\].shape: 'text' has shape \[2\] in the model, \[3\] in",
        ),
        ((tensor("age", "FP32", 2, 2), tensor("text", "BYTES", 2)), r"shape \[-1\] in the model, \[2, 2\] in"),
    ],
)
def test_a_mismatch_names_both_sides(declared: tuple[TensorDefinition, ...], text: str) -> None:
    """What the model says and what model.yaml says stand in the message, with the field."""
    with pytest.raises(BundleError, match=text):
        reconcile(FOUND, declared, "inputs")


def test_a_framework_that_knows_nothing_needs_both_lists() -> None:
    """Inputs and outputs have to be declared where the framework cannot tell them."""
    with pytest.raises(BundleError, match=r"model.yaml.outputs: framework python cannot tell the outputs"):
        declared_signature(definition(framework="python", inputs=[{"name": "x", "datatype": "FP32", "shape": [1]}]))


def test_names_must_fit_the_last_dimension() -> None:
    """Two columns cannot name three elements; a single element may have labels of both its classes."""
    check_columns([TensorSpec("p", "FP32", (1,), labels=("no", "yes"))], "outputs")
    check_columns([TensorSpec("p", "FP32", (-1,), columns=("a", "b"))], "inputs")
    with pytest.raises(BundleError, match="'x' has 3 elements in its last dimension and 2 columns"):
        check_columns([TensorSpec("x", "FP32", (3,), columns=("a", "b"))], "inputs")
    with pytest.raises(BundleError, match="'x' has 3 elements in its last dimension and 2 labels"):
        check_columns([TensorSpec("x", "FP32", (3,), labels=("a", "b"))], "outputs")
