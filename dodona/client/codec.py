"""Between arrays and the protocol's messages. Pure: nothing here knows of a channel."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from dodona.client.inputs import Tensors
from dodona.client.prediction import Prediction
from protos import inference_pb2
from serving.errors import InvalidRequest
from serving.tensors import Array, from_contents, from_raw, to_raw

Parameters: TypeAlias = Mapping[str, bool | int | float | str]


def encode(
    model: str,
    version: str,
    inputs: Tensors,
    *,
    outputs: Sequence[str] | None = None,
    id: str = "",
    priority: int = 0,
    parameters: Parameters | None = None,
) -> inference_pb2.ModelInferRequest:
    """The request message; tensors go as raw bytes. Raises InvalidRequest on a parameter of a wrong type."""
    request = inference_pb2.ModelInferRequest(model_name=model, model_version=version, id=id)
    for tensor in inputs.tensors:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        request.raw_input_contents.append(to_raw(tensor.array))
    for name in outputs or ():
        request.outputs.add(name=name)
    for name, value in (parameters or {}).items():
        _set_parameter(request.parameters[name], name, value)
    if priority:
        _set_parameter(request.parameters["priority"], "priority", priority)
    return request


def version_text(version: str | int) -> str:
    """A version as the protocol has it; 3 is "3". Raises InvalidRequest for what names no version."""
    given: object = version
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return str(given)
    raise InvalidRequest(f"{version!r} is no version", field="version", remedy='send text or a whole number: "3", 3')


def _set_parameter(parameter: inference_pb2.InferParameter, name: str, value: bool | int | float | str) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int() if -(2**63) <= value < 2**63:
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case str():
            parameter.string_param = value
        case _:
            raise InvalidRequest(
                f"{value!r} is no parameter value", field=f"parameters.{name}", remedy="send bool, int, float or str"
            )


def decode(
    response: inference_pb2.ModelInferResponse,
    *,
    request_id: str = "",
    timings: Mapping[str, float] | None = None,
    elapsed_s: float = 0.0,
) -> Prediction:
    """Raises InvalidRequest if the tensors do not fit their shapes (a faulty server)."""
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise InvalidRequest(
            f"{len(raw)} raw contents for {len(response.outputs)} outputs", field="response", remedy="report this"
        )
    arrays: dict[str, Array] = {}
    for position, output in enumerate(response.outputs):
        field = f"response.outputs[{position}]"
        if raw:
            arrays[output.name] = from_raw(raw[position], output.datatype, output.shape, field)
        else:
            # Inputs and outputs carry typed contents in the same fields.
            arrays[output.name] = from_contents(cast(inference_pb2.ModelInferRequest.InferInputTensor, output), field)
    return Prediction(
        response.model_name, response.model_version, arrays, response.id, request_id, timings or {}, elapsed_s
    )


def parse_timings(server_timing: str) -> dict[str, float]:
    """Seconds by stage from a Server-Timing value, `queue;dur=0.31, infer;dur=1.2` (milliseconds there)."""
    timings = {}
    for entry in server_timing.split(","):
        stage, *attributes = (part.strip() for part in entry.split(";"))
        for attribute in attributes:
            name, _, value = attribute.partition("=")
            try:
                if stage and name == "dur":
                    timings[stage] = float(value) / 1000
            except ValueError:
                continue
    return timings
