"""The settings of tracing, and what OpenTelemetry's own environment variables say about them."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field, field_validator

from serving.settings import Settings

TRACES_PATH: Final = "/v1/traces"


class Tracing(Settings):
    """Spans of sampled requests, from the listeners to the model, sent to an OpenTelemetry collector."""

    endpoint: str = ""
    """Collector that takes OTLP over HTTP, for example http://127.0.0.1:4318; a URL without a path gets /v1/traces.
    Empty = no tracing. Where it is not given: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Part of the requests without a caller's decision that is traced. Where it is not given: OTEL_TRACES_SAMPLER,
    OTEL_TRACES_SAMPLER_ARG."""
    follow_parent: bool = True
    """Whether the sampled flag in a caller's `traceparent` decides for its request; false = the ratio decides for all.
    Where it is not given: OTEL_TRACES_SAMPLER."""
    max_queued_spans: Annotated[int, Field(ge=1)] = 8192
    """Spans that wait for export in each process; further ones are dropped and counted."""
    export_interval_s: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between exports, at most."""
    export_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that the collector may take to answer."""

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, endpoint: str) -> str:
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https:// (OTLP over HTTP, port 4318 of most collectors)")
        return endpoint


_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")


def from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """Keys of Tracing -> the variable and the value it gives them.

    Nothing is taken where OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL ask for what we do not
    do: such variables are set for a whole fleet, and are no reason not to serve.
    """
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER", "otlp") not in ("", "otlp")
        or (protocol or "http/protobuf") != "http/protobuf"
    ):
        return {}
    found: dict[str, tuple[str, object]] = {}
    if value := environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        found["endpoint"] = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value)
    elif value := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        found["endpoint"] = ("OTEL_EXPORTER_OTLP_ENDPOINT", value.rstrip("/") + TRACES_PATH)
    sampler = environment.get("OTEL_TRACES_SAMPLER", "")
    plain = sampler.removeprefix("parentbased_")
    if plain in _SAMPLERS:
        found["follow_parent"] = ("OTEL_TRACES_SAMPLER", sampler != plain)
        if plain != "traceidratio":
            found["sample_ratio"] = ("OTEL_TRACES_SAMPLER", 1.0 if plain == "always_on" else 0.0)
    if plain in ("", "traceidratio") and (value := environment.get("OTEL_TRACES_SAMPLER_ARG")):
        found["sample_ratio"] = ("OTEL_TRACES_SAMPLER_ARG", value)
    return found


def with_environment(values: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, object]:
    """Settings of a process as they came, with what the environment adds to the block `tracing`."""
    block = values.get("tracing", {})
    added = {key: value for key, (_, value) in from_environment(environment).items()}
    if not added or not isinstance(block, Mapping):
        return dict(values)
    return {**values, "tracing": {**added, **block}}
