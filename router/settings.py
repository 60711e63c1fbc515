"""Settings of a router process. One block, `router:`, of dodona.yaml."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from serving.settings import Settings

Port = Annotated[int, Field(ge=0, le=65535)]
PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class Limits(Settings):
    max_message_bytes: PositiveInt = 64 * 1024 * 1024
    """Bytes of one request or response message, after decompression; also of an HTTP body."""
    max_header_bytes: PositiveInt = 16 * 1024
    """Bytes of the header list of one request, decoded."""
    max_streams_per_connection: PositiveInt = 1024
    """Concurrent calls on one gRPC connection (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    max_connections: PositiveInt = 10_000
    """Open client connections of one listener."""
    max_pending: PositiveInt = 10_000
    """Requests waiting in the router for one model version."""
    max_in_flight: PositiveInt = 50_000
    """Requests accepted and not yet answered, all models together."""
    max_json_depth: PositiveInt = 32
    """Nesting of a JSON body."""


class Admission(Settings):
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


class Tls(Settings):
    certificate: str = ""
    """PEM file with the certificate chain; empty = no TLS."""
    key: str = ""
    """PEM file with the private key."""


class Link(Settings):
    address: str = "unix:.dodona/link.sock"
    """Where workers dial in: `unix:PATH` or `HOST:PORT`."""
    token: SecretStr = SecretStr("")
    """Shared secret that workers must present; empty = none asked for."""
    max_frame_bytes: PositiveInt = 256 * 1024 * 1024
    """Bytes of one frame on the link."""
    heartbeat_interval_s: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between heartbeats."""
    heartbeat_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds of silence after which a peer counts as lost."""


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
    front: Literal["http2", "grpcio"] = "http2"
    """gRPC server: http2 = Dodona's own, the fast one; grpcio = the reference stack."""
    default_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds a request may take if neither the caller nor the model says."""
    drain_grace_s: Seconds = 30.0
    """Seconds that accepted requests get to finish after SIGTERM."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line written."""
    tls: Tls = Tls()
    limits: Limits = Limits()
    admission: Admission = Admission()
    fairness: Fairness = Fairness()
    link: Link = Link()
