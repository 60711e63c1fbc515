"""The model repository extension: index, load, unload."""

from collections.abc import Mapping
from typing import Any

from protos import inference_pb2
from router.edge import describe
from router.edge.loading import check_repository, check_unload, load_config
from router.edge.rest.exchange import Request, Response, as_json
from router.edge.rest.parameters import mapping
from router.edge.rest.plain import plain
from serving.errors import InvalidRequest


async def repository_index(request: Request) -> Response:
    """A bare list, as in Triton; an entry leaves out what it has not."""
    document = mapping(await request.json(), "body")
    ready = document.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidRequest("must be true or false", field="ready", remedy="send a boolean")
    entries = [plain(entry) for entry in describe.repository_index(request.core, ready).models]
    return as_json([{key: value for key, value in entry.items() if value} for entry in entries])


async def load_model(request: Request) -> Response:
    config = load_config(await _parameters(request))
    await request.core.operators.load(request.model, config)
    return as_json({"name": request.model, "load": True})


async def unload_model(request: Request) -> Response:
    check_unload(await _parameters(request))
    await request.core.operators.unload(request.model)
    return as_json({"name": request.model, "unload": True})


async def _parameters(request: Request) -> Mapping[str, inference_pb2.ModelRepositoryParameter]:
    check_repository(request.arguments.get("repository", ""))
    document = mapping(await request.json(), "body")
    message = inference_pb2.RepositoryModelLoadRequest()
    for name, value in mapping(document.get("parameters"), "parameters").items():
        _write(message.parameters[name], value, f"parameters.{name}")
    return message.parameters


def _write(parameter: inference_pb2.ModelRepositoryParameter, value: Any, field: str) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        parameter.int64_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    else:
        raise InvalidRequest("must be a boolean, integer or string", field=field, remedy="send one plain value")
