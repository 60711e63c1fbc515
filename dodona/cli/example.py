"""Ready-made commands that call a model which is served right now: what a newcomer pastes first."""

import math
from typing import Any, Final

import orjson

from dodona.client import AsyncClient, Description
from dodona.cluster.local import LocalCluster
from serving.spec import State, TensorSpec

_MAX_ELEMENTS: Final = 128
_EXAMPLE_TIMEOUT_S: Final = 5.0


async def example_calls(cluster: LocalCluster) -> list[str]:
    """For the model with the smallest input. Raises DodonaError."""
    names = sorted({version.spec.name for version in cluster.versions if version.state is State.READY})
    async with AsyncClient(f"grpc://{cluster.grpc_address}", timeout_s=_EXAMPLE_TIMEOUT_S) as client:
        models = [await client.metadata(name) for name in names[:8]]
    small = [model for model in models if model.inputs and _size(model) <= _MAX_ELEMENTS]
    if not small:
        return ["dodona models", f"curl -s http://{cluster.http_address}/v2/models/{names[0]}"]
    return calls_for(min(small, key=_size), cluster.grpc_address, cluster.http_address)


def calls_for(model: Description, grpc: str, http: str) -> list[str]:
    """The same one-row request of zeros by our command, as a record where the columns have names, and by curl."""
    url = "" if grpc == "127.0.0.1:8001" else f" --url grpc://{grpc}"
    record = {tensor.name: _zeros(tensor, model) for tensor in model.inputs}
    request = {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": _shape(tensor, model),
                "data": record[tensor.name],
            }
            for tensor in model.inputs
        ]
    }
    return [
        "dodona models" + url,
        f"dodona predict {model.name}{url} --json '{_quoted(_json(_record(model) or record))}'",
        f"curl -s http://{http}/v2/models/{model.name}/infer -d '{_json(request)}'",
    ]


def _record(model: Description) -> dict[str, Any]:
    """One row by the names of its columns; empty where an input has none."""
    if not all(tensor.columns and len(tensor.shape) == 1 for tensor in model.inputs):
        return {}
    zeros = {tensor.name: {"BYTES": "", "BOOL": False}.get(tensor.datatype, 0) for tensor in model.inputs}
    return {column: zeros[tensor.name] for tensor in model.inputs for column in tensor.columns}


def _quoted(text: str) -> str:
    """For the inside of single quotes in a shell."""
    return text.replace("'", "'\\''")


def _size(model: Description) -> int:
    return sum(math.prod(_shape(tensor, model)) for tensor in model.inputs)


def _shape(tensor: TensorSpec, model: Description) -> list[int]:
    """One row; where any extent will do, one element."""
    return [1 if extent < 0 else extent for extent in model.signature.wire_shape(tensor)]


def _zeros(tensor: TensorSpec, model: Description) -> Any:
    value: Any = {"BYTES": "", "BOOL": False}.get(tensor.datatype, 0)
    for extent in reversed(_shape(tensor, model)):
        value = [value] * extent
    return value


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
