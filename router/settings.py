"""Settings of a router process. One block, `router:`, of dodona.yaml."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, model_validator

from serving.link.address import LinkAddress
from serving.settings import Settings
from serving.spinning import SpinSeconds
from serving.tracing.settings import Tracing

Port = Annotated[int, Field(ge=0, le=65535)]
# What a frame holds beside the message: the envelope with its columns.
FRAME_OVERHEAD_BYTES = 64 * 1024

PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
# Below two frames of 64 KiB an update sent at half of the window could come too late; HTTP/2 ends at 2^31-1.
WindowBytes = Annotated[int, Field(ge=128 * 1024, le=2**31 - 1)]


class Limits(Settings):
    max_message_bytes: PositiveInt = 64 * 1024 * 1024
    """Bytes of one request or response message, after decompression; also of an HTTP body."""
    max_header_bytes: PositiveInt = 16 * 1024
    """Bytes of the header list of one request, decoded."""
    max_streams_per_connection: PositiveInt = 1024
    """Concurrent calls on one gRPC connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    max_connections: PositiveInt = 10_000
    """Open client connections of one listener."""
    max_connection_age_s: Seconds = 0.0
    """Seconds after which a connection is asked to end, so that its client connects anew, maybe elsewhere; each
    connection lives up to a tenth longer or shorter. 0 = no limit."""
    max_connection_age_grace_s: Seconds = 30.0
    """Seconds that calls on such a connection get to finish."""
    max_pending: PositiveInt = 10_000
    """Requests waiting in the router for one model version."""
    max_in_flight: PositiveInt = 50_000
    """Requests accepted and not yet answered, all models together."""
    max_json_depth: PositiveInt = 32
    """Nesting of a JSON body."""


class Http2(Settings):
    """How Dodona's own gRPC front treats one connection (`front: http2`)."""

    stream_window_bytes: WindowBytes = 1024 * 1024
    """Bytes of one call that its caller may send ahead (flow-control window)."""
    connection_window_bytes: WindowBytes = 4 * 1024 * 1024
    """Bytes of one connection that its callers may send ahead (flow-control window)."""
    control_burst: PositiveInt = 1000
    """Frames that cost us and carry nothing (PING, SETTINGS, empty DATA) tolerated at once."""
    control_per_s: Seconds = 100.0
    """Refill of that allowance, times the seconds that pass; each message sent adds one more."""
    reset_burst: PositiveInt = 2000
    """Calls that the caller cancels, or that are reset for its faults, tolerated at once."""
    reset_per_s: Seconds = 500.0
    """Refill of that allowance, times the seconds that pass; each message sent adds one more."""
    handshake_timeout_s: PositiveSeconds = 10.0
    """Seconds until a caller must have spoken HTTP/2."""
    keepalive_idle_s: PositiveSeconds = 60.0
    """Seconds of silence after which a PING is sent."""
    keepalive_timeout_s: PositiveSeconds = 20.0
    """Seconds that the caller has to answer it."""
    write_stall_s: PositiveSeconds = 60.0
    """Seconds in which a caller takes nothing of what waits for it, after which its call or connection ends."""
    upload_timeout_s: PositiveSeconds = 120.0
    """Seconds a unary request may take to arrive in full."""
    linger_s: PositiveSeconds = 1.0
    """Seconds that a caller whose connection is ended gets to read why (GOAWAY) and to close its end."""
    linger_bytes: PositiveInt = 16 * 1024 * 1024
    """Bytes that it may still send meanwhile; they are thrown away."""


class Rest(Settings):
    """How long the REST listener waits for callers."""

    keep_alive_s: Annotated[int, Field(ge=0)] = 75
    """Seconds for the next request of an idle connection; longer than pools of clients and proxies keep theirs."""
    head_timeout_s: PositiveSeconds = 20.0
    """Seconds for the rest of a request's head, from its first bytes."""
    write_stall_s: PositiveSeconds = 30.0
    """Seconds for a caller to read something of a reply that waits for it."""
    body_pause_s: PositiveSeconds = 30.0
    """Seconds between two pieces of a body."""
    upload_timeout_s: PositiveSeconds = 120.0
    """Seconds a body may take to arrive in full."""
    handshake_timeout_s: PositiveSeconds = 10.0
    """Seconds for TLS."""


class Admission(Settings):
    """What becomes of requests that could not be answered in time."""

    enabled: bool = True
    """Whether a request that cannot meet its deadline (without one, the model's SLO) behind those that wait is refused
    at once, with a delay after which to try again."""


class Fairness(Settings):
    """Between tenants whose requests wait for the same model version."""

    tenant_header: Annotated[str, StringConstraints(pattern=r"^([a-z0-9_.-]+)?$")] = "x-dodona-tenant"
    """Metadata or header, in lower case, that names the tenant of a request; the parameter `tenant` does where it is
    missing. Empty = no header counts."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Tenant -> weight of its share, for example {batch: 0.2}; others have 1."""
    max_tenants: PositiveInt = 64
    """Tenants of one model version told apart while they wait; further ones share a place."""


class SharedMemory(Settings):
    """System shared memory: callers on this machine pass tensors by name."""

    enabled: Literal["auto"] | bool = "auto"
    """Whether callers may have any shared memory object that the server's user may open read and written; auto = where
    `router.host` lets only this machine's callers in."""
    max_regions: PositiveInt = 256
    """Regions registered at once; workers hold a descriptor for each that is used."""
    registry: str = ""
    """Routers of one machine that share callers share registrations by this name; empty = by the folder of their link's
    unix socket, or by the address that callers dial where the link is TCP."""


class Tls(Settings):
    certificate: str = ""
    """PEM file with the certificate chain; empty = no TLS."""
    key: str = ""
    """PEM file with the private key."""


class Link(Settings):
    address: LinkAddress = "unix:.dodona/link.sock"
    """Where workers dial in: `unix:PATH` or `HOST:PORT`."""
    token: SecretStr = SecretStr("")
    """Shared secret that workers must present; empty = none asked for."""
    max_frame_bytes: PositiveInt = 256 * 1024 * 1024
    """Bytes of one frame on the link."""
    heartbeat_interval_s: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between heartbeats."""
    heartbeat_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a whole frame after which a peer counts as lost; the largest frame must fit into that time."""


class RouterSettings(Settings):
    name: str = "router"
    """Name in logs and status."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 = all interfaces."""
    grpc_port: Port = 8001
    """0 = any free port; so for all ports."""
    http_port: Port = 8000
    """REST."""
    metrics_port: Port = 8002
    """Prometheus, `GET /metrics`."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the gRPC and REST ports (SO_REUSEPORT), for more calls than one core can route. Each has a
    link of its own (docs/guides/scaling.md), and limits count per process."""
    front: Literal["http2", "grpcio"] = "http2"
    """gRPC server: http2 = Dodona's own, the fast one; grpcio = the reference stack."""
    default_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds a request may take if neither the caller nor the model says."""
    drain_grace_s: Seconds = 30.0
    """Seconds that accepted requests get to finish after SIGTERM."""
    response_cache_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Bytes that kept answers of all models may take, with their requests, in each router process; 0 = keep none. Only
    models whose model.yaml says `response_cache` have any."""
    spin_s: SpinSeconds = 0.0003
    """Seconds that the event loop looks for work before it sleeps, while work keeps coming in shorter pauses: a lone
    request is answered in half the time, for processor time that would else be idle. 0 = never; nor does it with less
    than two processors to use."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written."""
    tls: Tls = Tls()
    limits: Limits = Limits()
    http2: Http2 = Http2()
    rest: Rest = Rest()
    admission: Admission = Admission()
    fairness: Fairness = Fairness()
    shared_memory: SharedMemory = SharedMemory()
    link: Link = Link()
    tracing: Tracing = Tracing()

    @model_validator(mode="after")
    def _messages_fit_frames(self) -> "RouterSettings":
        least = self.limits.max_message_bytes + FRAME_OVERHEAD_BYTES
        if self.link.max_frame_bytes < least:
            raise ValueError(
                f"link.max_frame_bytes must be at least limits.max_message_bytes + {FRAME_OVERHEAD_BYTES} = {least}"
            )
        return self
