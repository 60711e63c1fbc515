"""Triton's repository layout, read: `config.pbtxt` beside integer version folders with `model.onnx`.

What changes an answer is obeyed or refused by the name of its field; what only changes speed (optimization, warm-up,
instance counts, preferred batch sizes) is left to Dodona. Without `config.pbtxt` the model file says it all, as with
Triton's auto-complete.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf import text_format

from protos.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelInstanceGroup, ModelOutput
from serving.bundle.definition import Batching, ModelDefinition
from serving.bundle.layout import TRITON_FILE, TRITON_MODEL_FILE, safe_path
from serving.errors import BundleError
from serving.settings import validate
from serving.spec import NUMPY_DTYPES, in_order

MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024
MAX_LABELS_BYTES: Final = 4 * 1024 * 1024
# Triton's name of each datatype: TYPE_ and ours, but for strings.
TYPE_NAMES: Final = {name: f"TYPE_{'STRING' if name == 'BYTES' else name}" for name in NUMPY_DTYPES}
_DATATYPES: Final = {DataType.Value(theirs): ours for ours, theirs in TYPE_NAMES.items()}
_UNSUPPORTED: Final = (
    "sequence_batching",
    "ensemble_scheduling",
    "batch_input",
    "batch_output",
    "model_operations",
    "cc_model_filenames",
    "model_repository_agents",
    "runtime",
)


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which integer versions Triton would serve."""

    latest: int = 1
    every: bool = False
    chosen: tuple[str, ...] = ()

    def served(self, versions: Iterable[str]) -> list[str]:
        """Oldest first; folders whose name is not an integer are no versions."""
        known = in_order(version for version in versions if version.isascii() and version.isdigit())
        if self.every:
            return known
        return [version for version in known if version in self.chosen] if self.chosen else known[-self.latest :]


def read_config(name: str, raw: bytes, read_labels: Callable[[str], bytes]) -> tuple[ModelDefinition, VersionPolicy]:
    """The definition that a config.pbtxt amounts to. `read_labels` reads a file of the model's folder, raising
    OSError. Raises BundleError naming the field that Dodona cannot serve."""
    config = _parse(raw)
    if config.name not in ("", name):
        raise _refused("name", f"is {config.name!r}, the folder is {name!r}", "make them equal, or leave it out")
    _check_supported(config)
    if config.max_batch_size < 0:
        raise _refused("max_batch_size", "must not be negative", "0 = the model does not batch")
    definition = {
        "name": name,
        "framework": "onnx",
        "file": config.default_model_filename or TRITON_MODEL_FILE,
        "inputs": [_tensor(tensor, f"input[{index}]") for index, tensor in enumerate(config.input)],
        "outputs": [_output(tensor, f"output[{index}]", read_labels) for index, tensor in enumerate(config.output)],
        "batching": _batching(config),
        "device": _device(config.instance_group),
        "response_cache": {"enabled": config.response_cache.enable},
    }
    return validate(ModelDefinition, definition, where=TRITON_FILE, error=BundleError), _policy(config)


def completed_definition(name: str) -> ModelDefinition:
    """The definition of a folder without config.pbtxt: everything as the model file says."""
    return ModelDefinition(name=name, framework="onnx", file=TRITON_MODEL_FILE)


def _parse(raw: bytes) -> ModelConfig:
    if len(raw) > MAX_CONFIG_BYTES:
        raise BundleError(f"has more than {MAX_CONFIG_BYTES} bytes", field=TRITON_FILE)
    config = ModelConfig()
    try:
        text_format.Parse(raw.decode("utf-8"), config)
    except UnicodeDecodeError:
        raise BundleError("not valid UTF-8", field=TRITON_FILE) from None
    except (text_format.ParseError, RecursionError) as error:
        raise BundleError(f"line {error}", field=TRITON_FILE, remedy="correct that line") from None
    return config


def _refused(field: str, message: str, remedy: str) -> BundleError:
    return BundleError(message, field=f"{TRITON_FILE}.{field}", remedy=remedy)


def _check_supported(config: ModelConfig) -> None:
    file = config.default_model_filename or TRITON_MODEL_FILE
    if config.platform not in ("", "onnxruntime_onnx"):
        raise _refused("platform", f"{config.platform!r} is not served from this layout", "use onnxruntime_onnx")
    if config.backend not in ("", "onnxruntime"):
        raise _refused("backend", f"{config.backend!r} is not served from this layout", "use onnxruntime")
    if not file.endswith(".onnx"):
        raise _refused("default_model_filename", f"{file!r} is no ONNX model", "name a file that ends with .onnx")
    set_fields = {field.name for field, _ in config.ListFields()}
    for field in _UNSUPPORTED:
        if field in set_fields:
            raise _refused(field, "is not supported", "remove it, or leave this model to Triton")
    if config.model_transaction_policy.decoupled:
        raise _refused("model_transaction_policy.decoupled", "is not supported", "leave this model to Triton")


def _tensor(tensor: ModelInput | ModelOutput, field: str) -> dict[str, object]:
    for name in ("reshape", "is_shape_tensor", "is_non_linear_format_io", "allow_ragged_batch", "optional"):
        if name in tensor.DESCRIPTOR.fields_by_name and any(entry.name == name for entry, _ in tensor.ListFields()):
            raise _refused(f"{field}.{name}", "is not supported", "remove it, or leave this model to Triton")
    if tensor.data_type not in _DATATYPES:
        raise _refused(f"{field}.data_type", "is missing", f"one of {', '.join(TYPE_NAMES.values())}")
    return {"name": tensor.name, "datatype": _DATATYPES[tensor.data_type], "shape": tuple(tensor.dims)}


def _output(tensor: ModelOutput, field: str, read_labels: Callable[[str], bytes]) -> dict[str, object]:
    plain = _tensor(tensor, field)
    if tensor.label_filename:
        try:
            text = read_labels(safe_path(tensor.label_filename)).decode("utf-8")
        except (OSError, ValueError):
            raise _refused(
                f"{field}.label_filename",
                f"{tensor.label_filename!r} cannot be read",
                "put a text file with one class name a line beside config.pbtxt",
            ) from None
        plain["labels"] = tuple(line.strip() for line in text.splitlines() if line.strip())
    return plain


def _batching(config: ModelConfig) -> Batching:
    """0 rows means no batching where the tensors are listed; where they are not, as the model file allows."""
    values: dict[str, object] = {"max_wait_s": config.dynamic_batching.max_queue_delay_microseconds / 1e6}
    if config.max_batch_size:
        values |= {"enabled": True, "max_batch_rows": config.max_batch_size}
    elif config.input or config.output:
        values["enabled"] = False
    return validate(Batching, values, where=f"{TRITON_FILE}.dynamic_batching", error=BundleError)


def _device(groups: Iterable[ModelInstanceGroup]) -> str:
    """CPU groups give "cpu", GPU groups the one GPU they name, or the first; auto where nothing is said."""
    devices = {_group_device(group, f"instance_group[{index}]") for index, group in enumerate(groups)}
    if len(devices) > 1:
        raise _refused("instance_group", f"asks for {' and '.join(sorted(devices))}", "keep one kind and one GPU")
    return devices.pop() if devices else "auto"


def _group_device(group: ModelInstanceGroup, field: str) -> str:
    if group.kind == ModelInstanceGroup.KIND_CPU:
        return "cpu"
    if len(group.gpus) > 1:
        raise _refused(
            f"{field}.gpus", f"names {len(group.gpus)} GPUs", "keep one; run a worker for each of the others"
        )
    if group.gpus:
        return f"cuda:{group.gpus[0]}"
    return "cuda:0" if group.kind == ModelInstanceGroup.KIND_GPU else "auto"


def _policy(config: ModelConfig) -> VersionPolicy:
    choice = config.version_policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(every=True)
    if choice == "specific":
        versions = tuple(str(version) for version in config.version_policy.specific.versions)
        if not versions:
            raise _refused("version_policy.specific.versions", "is empty", "list the versions to serve")
        return VersionPolicy(chosen=versions)
    return VersionPolicy(latest=config.version_policy.latest.num_versions or 1)
