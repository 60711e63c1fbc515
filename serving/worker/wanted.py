"""The outputs a caller asked for, checked against the signature."""

from collections.abc import Iterable

from protos import inference_pb2
from serving.errors import InvalidRequest
from serving.shared_memory.regions import NOWHERE, Regions
from serving.spec import Signature
from serving.worker.request import WantedOutput

_Wanted = inference_pb2.ModelInferRequest.InferRequestedOutputTensor


def wanted_outputs(
    wanted: Iterable[_Wanted], signature: Signature, regions: Regions = NOWHERE
) -> tuple[WantedOutput, ...] | None:
    """In the caller's order; None if that is simply all of them. Raises InvalidRequest, and as `Regions.span_of`."""
    places = {tensor.name: place for place, tensor in enumerate(signature.outputs)}
    outputs: list[WantedOutput] = []
    for index, output in enumerate(wanted):
        place = places.get(output.name)
        if place is None:
            raise InvalidRequest(
                f"the model has no output {output.name!r}",
                field=f"outputs[{index}].name",
                remedy=f"its outputs are {', '.join(map(str, signature.outputs))}",
            )
        if any(known.index == place for known in outputs):
            raise InvalidRequest(
                f"output {output.name!r} is asked for twice", field=f"outputs[{index}].name", remedy="ask once"
            )
        classes = _top_classes(output, index, signature.outputs[place].datatype)
        span = regions.span_of(output.parameters, f"outputs[{index}]") if output.parameters else None
        outputs.append(WantedOutput(place, classes, span))
    if outputs == [WantedOutput(place) for place in range(len(places))]:
        return None
    return tuple(outputs)


def _top_classes(output: _Wanted, index: int, datatype: str) -> int:
    """Value of the `classification` parameter; 0 without one."""
    if not output.parameters or "classification" not in output.parameters:
        return 0
    field = f"outputs[{index}].parameters.classification"
    parameter = output.parameters["classification"]
    choice = parameter.WhichOneof("parameter_choice")
    count = getattr(parameter, choice) if choice in ("int64_param", "uint64_param") else 0
    if count < 1:
        raise InvalidRequest("not a positive integer", field=field, remedy="send how many classes you want, as int64")
    if datatype in ("BYTES", "BF16", "BOOL"):
        raise InvalidRequest(f"{datatype} values have no order", field=field, remedy="ask for the output itself")
    return min(int(count), 2**31)
