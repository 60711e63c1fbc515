from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_WORKER: _ClassVar[Role]
    ROLE_AGENT: _ClassVar[Role]

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_UNAVAILABLE: _ClassVar[State]
    STATE_LOADING: _ClassVar[State]
    STATE_READY: _ClassVar[State]
    STATE_UNLOADING: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_LOAD: _ClassVar[Action]
    ACTION_UNLOAD: _ClassVar[Action]
ROLE_UNSPECIFIED: Role
ROLE_WORKER: Role
ROLE_AGENT: Role
STATE_UNSPECIFIED: State
STATE_UNAVAILABLE: State
STATE_LOADING: State
STATE_READY: State
STATE_UNLOADING: State
STATE_FAILED: State
ACTION_UNSPECIFIED: Action
ACTION_LOAD: Action
ACTION_UNLOAD: Action

class Envelope(_message.Message):
    __slots__ = ("hello", "models", "credit", "results", "draining", "index", "control_result", "welcome", "work", "cancel", "control", "heartbeat", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTROL_RESULT_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    models: Models
    credit: Credit
    results: Results
    draining: Draining
    index: Index
    control_result: ControlResult
    welcome: Welcome
    work: Work
    cancel: Cancel
    control: Control
    heartbeat: Heartbeat
    goodbye: Goodbye
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., models: _Optional[_Union[Models, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., results: _Optional[_Union[Results, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., index: _Optional[_Union[Index, _Mapping]] = ..., control_result: _Optional[_Union[ControlResult, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., work: _Optional[_Union[Work, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "role", "name", "framework", "device", "interpreter", "token", "metrics_address", "pid")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    INTERPRETER_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    role: Role
    name: str
    framework: str
    device: str
    interpreter: str
    token: str
    metrics_address: str
    pid: int
    def __init__(self, protocol_version: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., name: _Optional[str] = ..., framework: _Optional[str] = ..., device: _Optional[str] = ..., interpreter: _Optional[str] = ..., token: _Optional[str] = ..., metrics_address: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "router", "heartbeat_interval_s", "max_frame_bytes", "shared_memory")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    router: str
    heartbeat_interval_s: float
    max_frame_bytes: int
    shared_memory: str
    def __init__(self, protocol_version: _Optional[int] = ..., router: _Optional[str] = ..., heartbeat_interval_s: _Optional[float] = ..., max_frame_bytes: _Optional[int] = ..., shared_memory: _Optional[str] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "datatype", "shape", "columns", "labels", "refuses_nan")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REFUSES_NAN_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    columns: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    refuses_nan: bool
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., columns: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., refuses_nan: _Optional[bool] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("handle", "name", "version", "framework", "batched", "max_batch_rows", "inputs", "outputs", "labels", "default_timeout_s", "digest", "config", "load_s", "max_wait_s", "slo_latency_p99_s", "response_cache", "collapse", "content")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    BATCHED_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_S_FIELD_NUMBER: _ClassVar[int]
    SLO_LATENCY_P99_S_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    COLLAPSE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    handle: int
    name: str
    version: str
    framework: str
    batched: bool
    max_batch_rows: int
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    labels: _containers.ScalarMap[str, str]
    default_timeout_s: float
    digest: str
    config: bytes
    load_s: float
    max_wait_s: float
    slo_latency_p99_s: float
    response_cache: ResponseCache
    collapse: bool
    content: str
    def __init__(self, handle: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., framework: _Optional[str] = ..., batched: _Optional[bool] = ..., max_batch_rows: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., default_timeout_s: _Optional[float] = ..., digest: _Optional[str] = ..., config: _Optional[bytes] = ..., load_s: _Optional[float] = ..., max_wait_s: _Optional[float] = ..., slo_latency_p99_s: _Optional[float] = ..., response_cache: _Optional[_Union[ResponseCache, _Mapping]] = ..., collapse: _Optional[bool] = ..., content: _Optional[str] = ...) -> None: ...

class ResponseCache(_message.Message):
    __slots__ = ("enabled", "max_bytes", "ttl_s")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    max_bytes: int
    ttl_s: float
    def __init__(self, enabled: _Optional[bool] = ..., max_bytes: _Optional[int] = ..., ttl_s: _Optional[float] = ...) -> None: ...

class Models(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("handle", "window_rows")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ROWS_FIELD_NUMBER: _ClassVar[int]
    handle: int
    window_rows: int
    def __init__(self, handle: _Optional[int] = ..., window_rows: _Optional[int] = ...) -> None: ...

class Work(_message.Message):
    __slots__ = ("ids", "handles", "rows", "sizes", "timeout_us", "priorities", "traceparents", "request_ids", "tenants", "weights", "tracestates")
    IDS_FIELD_NUMBER: _ClassVar[int]
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    PRIORITIES_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    TRACESTATES_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    handles: _containers.RepeatedScalarFieldContainer[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    timeout_us: _containers.RepeatedScalarFieldContainer[int]
    priorities: _containers.RepeatedScalarFieldContainer[int]
    traceparents: _containers.RepeatedScalarFieldContainer[str]
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    tenants: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    tracestates: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., handles: _Optional[_Iterable[int]] = ..., rows: _Optional[_Iterable[int]] = ..., sizes: _Optional[_Iterable[int]] = ..., timeout_us: _Optional[_Iterable[int]] = ..., priorities: _Optional[_Iterable[int]] = ..., traceparents: _Optional[_Iterable[str]] = ..., request_ids: _Optional[_Iterable[str]] = ..., tenants: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ..., tracestates: _Optional[_Iterable[str]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("index", "status", "message", "field", "remedy", "retry_after_s")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    index: int
    status: int
    message: str
    field: str
    remedy: str
    retry_after_s: float
    def __init__(self, index: _Optional[int] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., remedy: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class Results(_message.Message):
    __slots__ = ("handle", "ids", "sizes", "queue_us", "rows", "input_us", "infer_us", "output_us", "failures")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INPUT_US_FIELD_NUMBER: _ClassVar[int]
    INFER_US_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_US_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    handle: int
    ids: _containers.RepeatedScalarFieldContainer[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    queue_us: _containers.RepeatedScalarFieldContainer[int]
    rows: int
    input_us: int
    infer_us: int
    output_us: int
    failures: _containers.RepeatedCompositeFieldContainer[Failure]
    def __init__(self, handle: _Optional[int] = ..., ids: _Optional[_Iterable[int]] = ..., sizes: _Optional[_Iterable[int]] = ..., queue_us: _Optional[_Iterable[int]] = ..., rows: _Optional[int] = ..., input_us: _Optional[int] = ..., infer_us: _Optional[int] = ..., output_us: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[Failure, _Mapping]]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence", "reply", "round_trip_us")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_US_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    reply: bool
    round_trip_us: int
    def __init__(self, sequence: _Optional[int] = ..., reply: _Optional[bool] = ..., round_trip_us: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class IndexEntry(_message.Message):
    __slots__ = ("name", "version", "state", "reason", "framework", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    state: State
    reason: str
    framework: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., framework: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Index(_message.Message):
    __slots__ = ("repository", "entries", "fault")
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    repository: str
    entries: _containers.RepeatedCompositeFieldContainer[IndexEntry]
    fault: str
    def __init__(self, repository: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[IndexEntry, _Mapping]]] = ..., fault: _Optional[str] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("id", "action", "name", "config")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    id: int
    action: Action
    name: str
    config: str
    def __init__(self, id: _Optional[int] = ..., action: _Optional[_Union[Action, str]] = ..., name: _Optional[str] = ..., config: _Optional[str] = ...) -> None: ...

class ControlResult(_message.Message):
    __slots__ = ("id", "status", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    status: int
    message: str
    def __init__(self, id: _Optional[int] = ..., status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...
