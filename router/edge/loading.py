"""What may be asked of the model repository over the wire: checks of RepositoryModelLoad and Unload, for both edges."""

from collections.abc import Mapping
from typing import Final

import orjson

from protos.inference_pb2 import ModelRepositoryParameter
from serving.errors import InvalidRequest, Unimplemented

Parameters = Mapping[str, ModelRepositoryParameter]

_KINDS: Final = {"bool_param": "a boolean", "string_param": "a string"}


def check_names(repository_name: str, model_name: str) -> None:
    """Raises Unimplemented (a repository chosen by name), InvalidRequest (no model named)."""
    check_repository(repository_name)
    if not model_name:
        raise InvalidRequest("model name is empty", field="model_name", remedy="name the model")


def check_repository(repository_name: str) -> None:
    """Raises Unimplemented if a repository is chosen by name."""
    if repository_name:
        raise Unimplemented(
            "choosing a repository by name is not offered", field="repository_name", remedy="leave it empty"
        )


def load_config(parameters: Parameters) -> str:
    """The `config` parameter of a load, a JSON object, or "". Raises InvalidRequest, Unimplemented."""
    for name in parameters:
        if name.startswith("file:"):
            raise Unimplemented(
                "uploading model files is not offered: whoever may call could run code",
                field=f"parameters.{name}",
                remedy="put the version folder into the repository; it is found without a restart",
            )
        if name != "config":
            raise _unknown(name, "config")
    if "config" not in parameters:
        return ""
    config = str(_value(parameters, "config", "string_param"))
    try:
        is_mapping = isinstance(orjson.loads(config), dict)
    except orjson.JSONDecodeError:
        is_mapping = False
    if not is_mapping:
        raise InvalidRequest(
            "not a JSON object", field="parameters.config", remedy="send the model configuration as JSON text"
        )
    return config


def check_unload(parameters: Parameters) -> None:
    """`unload_dependents` is accepted; no model depends on another, so it changes nothing. Raises InvalidRequest."""
    for name in parameters:
        if name != "unload_dependents":
            raise _unknown(name, "unload_dependents")
        _value(parameters, name, "bool_param")


def _value(parameters: Parameters, name: str, kind: str) -> object:
    if parameters[name].WhichOneof("parameter_choice") != kind:
        raise InvalidRequest(f"must be {_KINDS[kind]}", field=f"parameters.{name}", remedy=f"send {kind}")
    return getattr(parameters[name], kind)


def _unknown(name: str, known: str) -> InvalidRequest:
    return InvalidRequest("unknown parameter", field=f"parameters.{name}", remedy=f"known: {known}")
