from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("router", "version", "uptime_s", "draining", "workers", "models", "listeners", "pending", "in_flight")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    router: str
    version: str
    uptime_s: float
    draining: bool
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    models: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    listeners: _containers.RepeatedCompositeFieldContainer[Listener]
    pending: int
    in_flight: int
    def __init__(self, router: _Optional[str] = ..., version: _Optional[str] = ..., uptime_s: _Optional[float] = ..., draining: _Optional[bool] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., listeners: _Optional[_Iterable[_Union[Listener, _Mapping]]] = ..., pending: _Optional[int] = ..., in_flight: _Optional[int] = ...) -> None: ...

class Listener(_message.Message):
    __slots__ = ("protocol", "address")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    address: str
    def __init__(self, protocol: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("name", "role", "framework", "device", "interpreter", "pid", "metrics_address", "connected_s", "draining", "models", "in_flight", "round_trip_s", "fault")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    INTERPRETER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_S_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_S_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    framework: str
    device: str
    interpreter: str
    pid: int
    metrics_address: str
    connected_s: float
    draining: bool
    models: _containers.RepeatedScalarFieldContainer[str]
    in_flight: int
    round_trip_s: float
    fault: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., framework: _Optional[str] = ..., device: _Optional[str] = ..., interpreter: _Optional[str] = ..., pid: _Optional[int] = ..., metrics_address: _Optional[str] = ..., connected_s: _Optional[float] = ..., draining: _Optional[bool] = ..., models: _Optional[_Iterable[str]] = ..., in_flight: _Optional[int] = ..., round_trip_s: _Optional[float] = ..., fault: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version", "framework", "state", "reason", "replicas", "is_default", "labels", "pending", "in_flight", "succeeded", "failed", "inputs", "outputs", "load_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    framework: str
    state: str
    reason: str
    replicas: int
    is_default: bool
    labels: _containers.RepeatedScalarFieldContainer[str]
    pending: int
    in_flight: int
    succeeded: int
    failed: int
    inputs: _containers.RepeatedScalarFieldContainer[str]
    outputs: _containers.RepeatedScalarFieldContainer[str]
    load_s: float
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., framework: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., replicas: _Optional[int] = ..., is_default: _Optional[bool] = ..., labels: _Optional[_Iterable[str]] = ..., pending: _Optional[int] = ..., in_flight: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., inputs: _Optional[_Iterable[str]] = ..., outputs: _Optional[_Iterable[str]] = ..., load_s: _Optional[float] = ...) -> None: ...
