"""What a server says about a model, as one value: from ModelMetadata and ModelConfig to TensorSpecs."""

from dataclasses import dataclass

import orjson

from protos import inference_pb2, model_config_pb2
from serving.spec import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of the server's index. `state` is READY, LOADING, UNLOADING, UNAVAILABLE or FAILED, `reason` says why
    where it is not READY."""

    name: str
    version: str
    state: str
    reason: str = ""

    @property
    def ready(self) -> bool:
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class Description:
    """A model as callers see it. Shapes in `signature` leave out the batch dimension."""

    name: str
    versions: tuple[str, ...]
    platform: str
    signature: Signature

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.signature.outputs


def describe(metadata: inference_pb2.ModelMetadataResponse, config: model_config_pb2.ModelConfig | None) -> Description:
    """`config` is None where the server has none; then a leading -1 in every shape counts as the batch."""
    tensors = [*metadata.inputs, *metadata.outputs]
    if config is None:
        batched = bool(tensors) and all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
        config = model_config_pb2.ModelConfig()
    else:
        batched = config.max_batch_size > 0
    return Description(
        metadata.name,
        tuple(metadata.versions),
        metadata.platform,
        Signature(
            tuple(_tensor(tensor, config, batched) for tensor in metadata.inputs),
            tuple(_tensor(tensor, config, batched) for tensor in metadata.outputs),
            batched,
        ),
    )


def _tensor(
    tensor: inference_pb2.ModelMetadataResponse.TensorMetadata, config: model_config_pb2.ModelConfig, batched: bool
) -> TensorSpec:
    return TensorSpec(
        tensor.name,
        tensor.datatype,
        tuple(tensor.shape)[1 if batched else 0 :],
        _names(config, f"columns:{tensor.name}"),
        _names(config, f"labels:{tensor.name}"),
    )


def _names(config: model_config_pb2.ModelConfig, key: str) -> tuple[str, ...]:
    """A JSON list of strings among the configuration's parameters; empty where absent or something else."""
    if key not in config.parameters:
        return ()
    try:
        names = orjson.loads(config.parameters[key].string_value)
    except orjson.JSONDecodeError:
        return ()
    return tuple(str(name) for name in names) if isinstance(names, list) else ()
