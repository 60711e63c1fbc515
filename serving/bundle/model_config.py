"""A model's configuration in Triton's form, as the ModelConfig RPC answers it and perf_analyzer reads it."""

import json
from collections.abc import Sequence
from typing import Final

from protos.model_config_pb2 import (
    ModelConfig,
    ModelDynamicBatching,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelVersionPolicy,
)
from serving.bundle.definition import ModelDefinition
from serving.bundle.triton import TYPE_NAMES
from serving.spec import Signature, TensorSpec

# (backend, platform); Triton has a platform name only for the frameworks it brings itself.
_BACKENDS: Final = {"onnx": ("onnxruntime", "onnxruntime_onnx")}


def model_config(definition: ModelDefinition, signature: Signature, versions: Sequence[str]) -> ModelConfig:
    """`versions` are those served. Dims leave out the batch dimension where the model is batched, as the rest of
    Triton's surface expects; max_batch_size is 0 where it is not."""
    backend, platform = _BACKENDS.get(definition.framework, (definition.framework, definition.framework))
    config = ModelConfig(
        name=definition.name,
        platform=platform,
        backend=backend,
        input=[_input(tensor) for tensor in signature.inputs],
        output=[_output(tensor) for tensor in signature.outputs],
        default_model_filename=definition.file,
        instance_group=[_group(definition)],
        version_policy=_policy(versions),
    )
    _name_elements(config, signature)
    if definition.response_cache.enabled:
        config.response_cache.enable = True
    if signature.batched:
        config.max_batch_size = definition.batching.max_batch_rows
        delay_us = round(definition.batching.max_wait_s * 1e6)
        config.dynamic_batching.CopyFrom(ModelDynamicBatching(max_queue_delay_microseconds=delay_us))
    return config


def _name_elements(config: ModelConfig, signature: Signature) -> None:
    """Columns and labels, which Triton's form has no place for, as JSON lists in the parameters `columns:<tensor>` and
    `labels:<tensor>`. Clients turn records into rows by them."""
    for tensor in (*signature.inputs, *signature.outputs):
        for what, names in (("columns", tensor.columns), ("labels", tensor.labels)):
            if names:
                config.parameters[f"{what}:{tensor.name}"].string_value = json.dumps(names)


def _type(tensor: TensorSpec) -> str:
    return TYPE_NAMES[tensor.datatype]


def _input(tensor: TensorSpec) -> ModelInput:
    return ModelInput(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)


def _output(tensor: TensorSpec) -> ModelOutput:
    return ModelOutput(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)


def _group(definition: ModelDefinition) -> ModelInstanceGroup:
    kind, _, number = definition.device.partition(":")
    group = ModelInstanceGroup(name=f"{definition.name}_0", count=1)
    if kind == "cuda":
        group.kind = ModelInstanceGroup.KIND_GPU
        group.gpus.append(int(number))
    else:
        group.kind = ModelInstanceGroup.KIND_CPU if kind == "cpu" else ModelInstanceGroup.KIND_AUTO
    return group


def _policy(versions: Sequence[str]) -> ModelVersionPolicy:
    """The versions by number where all are numbers, else all of them."""
    numbers = [int(version) for version in versions if version.isascii() and version.isdigit() and len(version) < 19]
    if numbers and len(numbers) == len(versions):
        return ModelVersionPolicy(specific=ModelVersionPolicy.Specific(versions=sorted(numbers)))
    return ModelVersionPolicy(all=ModelVersionPolicy.All())
