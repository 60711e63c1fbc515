"""Tracing of one process, put together from its settings and OpenTelemetry's environment variables."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from urllib.parse import unquote

from serving.tracing.collector import Collector, headers_from
from serving.tracing.otlp import Envelope
from serving.tracing.outbox import Outbox
from serving.tracing.settings import Tracing


def open_outbox(tracing: Tracing, environment: Mapping[str, str], *, service: str, instance: str) -> Outbox | None:
    """None where tracing is off. `service` names the kind of process unless OTEL_SERVICE_NAME does. Raises
    ConfigurationError."""
    if not tracing.endpoint:
        return None
    collector = Collector(
        tracing.endpoint,
        headers=headers_from(_either(environment, "HEADERS")),
        certificate=_either(environment, "CERTIFICATE"),
        timeout_s=tracing.export_timeout_s,
    )
    ours = version("dodona")
    envelope = Envelope(resource(environment, service=service, instance=instance, version=ours), ours)
    outbox = Outbox(
        collector.post,
        envelope,
        max_spans=tracing.max_queued_spans,
        interval_s=tracing.export_interval_s,
        hang_up=collector.close,
    )
    outbox.start()
    return outbox


def resource(environment: Mapping[str, str], *, service: str, instance: str, version: str) -> dict[str, str | int]:
    """Who the spans are from, in the names of OpenTelemetry's conventions."""
    found: dict[str, str | int] = {
        "service.name": service,
        "service.version": version,
        "service.instance.id": instance,
        "host.name": platform.node(),
        "process.pid": os.getpid(),
        "telemetry.sdk.name": "dodona",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": version,
    }
    for part in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[name.strip()] = unquote(value.strip())
    found["service.name"] = environment.get("OTEL_SERVICE_NAME") or found["service.name"]
    return found


def _either(environment: Mapping[str, str], name: str) -> str:
    """The variable for traces, else the one for all signals."""
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or ""
