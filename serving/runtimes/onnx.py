"""ONNX Runtime: the signature comes from the model, the device from model.yaml."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from serving.bundle.bundle import Bundle
from serving.bundle.definition import ModelDefinition
from serving.errors import BundleError
from serving.runtimes.base import Arrays
from serving.runtimes.registry import missing_package
from serving.runtimes.signature import check_columns, reconcile
from serving.settings import Settings, validate
from serving.spec import Signature, TensorSpec

log = logging.getLogger(__name__)

_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"


class OnnxOptions(Settings):
    intra_op_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of one run; 0 = the worker's `threads`."""
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"
    """How far ONNX Runtime rewrites the graph at load."""
    spin: bool = False
    """Whether idle threads of the pool spin: shorter waits for the price of CPU. Only with several threads."""


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output as the file has it; a symbolic extent is -1."""

    name: str
    kind: str
    dims: tuple[int, ...]


class OnnxRuntime:
    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._session: Any = None
        self._outputs: list[str] = []
        self.device = "cpu"
        self.text_inputs: frozenset[str] = frozenset()

    def load(self, bundle: Bundle) -> Signature:
        """Raises BundleError: no such file, not an ONNX model, a missing GPU, tensors that differ from model.yaml."""
        definition = bundle.definition
        options = validate(OnnxOptions, definition.options, where="model.yaml.options", error=BundleError)
        path = bundle.file("model.onnx")
        if not path.is_file():
            raise BundleError(
                f"there is no {path.name} in version {bundle.spec.version}",
                field="model.yaml.file",
                remedy="name the ONNX file there, or call it model.onnx",
            )
        self._session = self._open(str(path), definition.device, options)
        signature = _signature(
            [_port(entry) for entry in self._session.get_inputs()],
            [_port(entry) for entry in self._session.get_outputs()],
            definition,
        )
        self._outputs = [tensor.name for tensor in signature.outputs]
        self.text_inputs = frozenset(tensor.name for tensor in signature.inputs if tensor.datatype == "BYTES")
        return signature

    def _open(self, path: str, device: str, options: OnnxOptions) -> Any:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise missing_package("onnx", "onnxruntime", error) from error
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = options.intra_op_threads or self._threads
        settings.inter_op_num_threads = 1
        settings.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, f"ORT_{_LEVELS[options.graph_optimization]}"
        )
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spin else "0")
        providers = choose_providers(device, ort.get_available_providers())
        try:
            session = ort.InferenceSession(path, settings, providers=providers)
        except Exception as error:  # its errors share no base class
            raise BundleError(
                f"ONNX Runtime cannot load the model: {error}",
                field="model.yaml.file",
                remedy="check it with onnx.checker, and its opset against the installed onnxruntime",
            ) from error
        self.device = _device_of(session, device)
        return session

    def predict(self, inputs: Arrays) -> Arrays:
        """Raises what ONNX Runtime raises."""
        if self.text_inputs:
            inputs = {name: _text(array) if name in self.text_inputs else array for name, array in inputs.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def close(self) -> None:
        self._session = None


_LEVELS: Final = {
    "none": "DISABLE_ALL",
    "basic": "ENABLE_BASIC",
    "extended": "ENABLE_EXTENDED",
    "all": "ENABLE_ALL",
}


def choose_providers(device: str, available: Sequence[str]) -> list[Any]:
    """Execution providers for `auto | cpu | cuda:N`. Raises BundleError if a GPU is asked for and cannot be used."""
    if device == "cpu" or (device == "auto" and _CUDA not in available):
        return [_CPU]
    if _CUDA not in available:
        raise BundleError(
            f"device {device} asked for, but the installed ONNX Runtime has no CUDA provider",
            field="model.yaml.device",
            remedy="install dodona[gpu] (onnxruntime-gpu) in the worker's environment, or set device: auto or cpu",
        )
    index = "0" if device == "auto" else device.removeprefix("cuda:")
    return [(_CUDA, {"device_id": index}), _CPU]


def _device_of(session: Any, asked: str) -> str:
    """ONNX Runtime falls back to the CPU without a word when a GPU cannot be used; here it is said."""
    if _CUDA in session.get_providers():
        return "cuda:0" if asked == "auto" else asked
    if asked.startswith("cuda"):
        raise BundleError(
            f"device {asked} asked for, but ONNX Runtime cannot use it",
            field="model.yaml.device",
            remedy="check the number of the GPU, its driver and the CUDA libraries, or set device: auto or cpu",
        )
    return "cpu"


def _port(entry: Any) -> _Port:
    dims = tuple(extent if isinstance(extent, int) and extent >= 0 else -1 for extent in entry.shape or ())
    return _Port(entry.name, entry.type, dims)


def _signature(inputs: list[_Port], outputs: list[_Port], definition: ModelDefinition) -> Signature:
    wanted = {tensor.name for tensor in definition.outputs}
    outputs = [port for port in outputs if not wanted or port.name in wanted]
    for port in inputs:
        _datatype(port, "inputs")
    for port in outputs:
        _datatype(port, "outputs")
    batched = _batched([*inputs, *outputs], definition)
    signature = Signature(
        reconcile([_spec(port, batched) for port in inputs], definition.inputs, "inputs"),
        reconcile([_spec(port, batched) for port in outputs], definition.outputs, "outputs"),
        batched,
    )
    check_columns(signature.inputs, "inputs")
    check_columns(signature.outputs, "outputs")
    return signature


def _batched(ports: list[_Port], definition: ModelDefinition) -> bool:
    """The first dimension is the batch if every tensor leaves it open and model.yaml does not say otherwise."""
    fixed = [port for port in ports if port.dims[:1] != (-1,)]
    asked = definition.batching.enabled and "enabled" in definition.batching.model_fields_set
    if fixed and asked:
        raise BundleError(
            f"batching is on, but the first dimension of {fixed[0].name!r} is fixed in the model: {fixed[0].dims}",
            field="model.yaml.batching.enabled",
            remedy="export the model with a dynamic first dimension, or set batching.enabled: false",
        )
    return definition.batching.enabled and not fixed


def _spec(port: _Port, batched: bool) -> TensorSpec:
    return TensorSpec(port.name, _DATATYPES[port.kind], port.dims[1:] if batched else port.dims)


def _datatype(port: _Port, role: str) -> None:
    if port.kind in _DATATYPES:
        return
    remedy = "export the model with tensors of another type"
    if port.kind.startswith("seq(map"):
        remedy = (
            "convert with to_onnx(model, options={'zipmap': False}), which gives a plain tensor, or list only the"
            " other outputs in model.yaml"
        )
    raise BundleError(f"{port.name!r} is a {port.kind}, which has no form on the wire", field=role, remedy=remedy)


def _text(array: Any) -> Any:
    """`bytes` elements as `str`; they were checked to be UTF-8."""
    text = np.empty(array.shape, dtype=object)
    text.ravel()[:] = [element.decode() for element in array.ravel().tolist()]
    return text
