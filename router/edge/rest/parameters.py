"""Parameters of requests, tensors and replies: JSON objects on one side, InferParameter maps on the other."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from protos import inference_pb2
from serving.errors import InvalidRequest

_INT64_MAX = 2**63 - 1


def mapping(value: object, field: str) -> dict[str, Any]:
    """A JSON object; null and absence are an empty one. Raises InvalidRequest."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest("must be an object", field=field, remedy='send {"name": value}')
    return value


def write_parameters(
    values: Mapping[str, Any], target: MutableMapping[str, inference_pb2.InferParameter], field: str
) -> None:
    """Raises InvalidRequest for what is not a boolean, number or string."""
    for name, value in values.items():
        parameter = target[name]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            _write_integer(parameter, value, f"{field}.{name}")
        elif isinstance(value, float):
            parameter.double_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        else:
            raise InvalidRequest(
                "must be a boolean, number or string", field=f"{field}.{name}", remedy="send one plain value"
            )


def _write_integer(parameter: inference_pb2.InferParameter, value: int, field: str) -> None:
    if -_INT64_MAX - 1 <= value <= _INT64_MAX:
        parameter.int64_param = value
    elif 0 <= value < 2**64:
        parameter.uint64_param = value
    else:
        raise InvalidRequest(f"{value} does not fit 64 bits", field=field, remedy="send it as a string")


def read_parameters(source: Mapping[str, inference_pb2.InferParameter]) -> dict[str, Any]:
    values = {}
    for name, parameter in source.items():
        kind = parameter.WhichOneof("parameter_choice")
        values[name] = getattr(parameter, kind) if kind else None
    return values
