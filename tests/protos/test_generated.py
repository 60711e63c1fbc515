"""The generated modules are those of the .proto files, and live beside tritonclient's."""

from pathlib import Path

import protos
from protos.generate import generate

HERE = Path(protos.__file__).parent


def test_committed_modules_are_what_the_compiler_gives(tmp_path: Path) -> None:
    """Drift fails: run `python -m protos.generate` and commit the result."""
    generated = generate(tmp_path)
    assert {path.name for path in generated} == {path.name for path in HERE.glob("*_pb2.py*")}
    for path in generated:
        assert path.read_text() == (HERE / path.name).read_text(), path.name


def test_imports_beside_tritonclient_with_the_same_names() -> None:
    """Both define inference.ModelInferRequest; bytes of one parse as the other."""
    from tritonclient.grpc import service_pb2

    from protos import inference_pb2

    ours = inference_pb2.ModelInferRequest(model_name="m", id="7")
    theirs = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())
    assert (theirs.model_name, theirs.id) == ("m", "7")
    assert ours.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name == "inference.ModelInferRequest"


def test_surface_equals_tritons() -> None:
    """Every method, message, field number and type that tritonclient knows, we know."""
    from tritonclient.grpc import service_pb2

    from protos import inference_pb2

    ours, theirs = inference_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR
    service = "GRPCInferenceService"
    assert set(ours.services_by_name[service].methods_by_name) == set(theirs.services_by_name[service].methods_by_name)
    for name, message in theirs.message_types_by_name.items():
        expected = {(field.name, field.number, field.type) for field in message.fields}
        assert {(f.name, f.number, f.type) for f in ours.message_types_by_name[name].fields} == expected, name


def test_routing_reads_what_a_full_request_says() -> None:
    """The partial message has the full one's field numbers."""
    from protos import inference_pb2, routing_pb2

    partial = inference_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name
    for field in routing_pb2.Request.DESCRIPTOR.fields:
        assert partial[field.name].number == field.number
    tensor = inference_pb2.ModelInferRequest.InferInputTensor.DESCRIPTOR.fields_by_name
    for field in routing_pb2.Tensor.DESCRIPTOR.fields:
        assert tensor[field.name].number == field.number
    choices = inference_pb2.InferParameter.DESCRIPTOR.fields_by_name
    for field in routing_pb2.Parameter.DESCRIPTOR.fields:
        assert choices[field.name].number == field.number
