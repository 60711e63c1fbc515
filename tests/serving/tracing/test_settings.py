import pytest

from dodona.config.sources import load
from serving.errors import ConfigurationError
from serving.settings import validate
from serving.tracing.settings import Tracing, from_environment, with_environment
from serving.tracing.start import open_outbox, resource

URL = "http://collector:4318"


def test_opentelemetrys_variables_fill_what_is_not_set() -> None:
    """The general endpoint gets the path of traces, the specific one is taken as it stands."""
    assert from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{URL}/"}) == {
        "endpoint": ("OTEL_EXPORTER_OTLP_ENDPOINT", f"{URL}/v1/traces")
    }
    both = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other/x"}
    assert from_environment(both)["endpoint"] == ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/x")
    assert with_environment({"tracing": {"endpoint": "http://mine"}, "name": "r"}, both) == {
        "tracing": {"endpoint": "http://mine"},
        "name": "r",
    }
    assert validate(Tracing, with_environment({}, both)["tracing"]).endpoint == "http://other/x"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sampler", "argument", "follow", "ratio"),
    [
        ("always_on", "", False, 1.0),
        ("always_off", "0.7", False, 0.0),
        ("traceidratio", "0.25", False, 0.25),
        ("parentbased_always_on", "", True, 1.0),
        ("parentbased_traceidratio", "0.25", True, 0.25),
        ("", "0.5", True, 0.5),
        ("jaeger_remote", "0.5", True, 0.01),
    ],
)
def test_samplers_have_opentelemetrys_names(sampler: str, argument: str, follow: bool, ratio: float) -> None:
    """Those of the specification; one that we do not have changes nothing."""
    environment = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    tracing = validate(Tracing, with_environment({}, environment).get("tracing", {}))  # type: ignore[arg-type]
    assert (tracing.follow_parent, tracing.sample_ratio) == (follow, ratio)


@pytest.mark.parametrize(
    "more",
    [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}],
    ids=str,
)
def test_a_fleets_variables_do_not_stop_us(more: dict[str, str]) -> None:
    """Where they ask for no traces, or for a protocol that we do not speak, they are left alone."""
    assert from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, **more}) == {}


def test_a_cluster_shows_where_its_endpoint_comes_from() -> None:
    """`dodona config` names the variable; our own variables and the file stand above it."""
    found = load(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_SAMPLER_ARG": "0.5"})
    assert found.settings.router.tracing.endpoint == f"{URL}/v1/traces"
    assert found.settings.router.tracing.sample_ratio == 0.5
    assert found.sources["router", "tracing", "endpoint"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    ours = load(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "DODONA_ROUTER__TRACING__ENDPOINT": "http://mine"})
    assert ours.settings.router.tracing.endpoint == "http://mine"


@pytest.mark.parametrize("endpoint", ["collector:4317", "grpc://collector:4317"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    """Collectors have a port for gRPC too, and it is not that one."""
    with pytest.raises(ConfigurationError, match="4318") as caught:
        validate(Tracing, {"endpoint": endpoint}, where="router.tracing")
    assert caught.value.field == "router.tracing.endpoint"


def test_spans_say_who_they_are_from() -> None:
    """The operator's names stand above ours."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=pro%20d,bad,k=v", "OTEL_SERVICE_NAME": "shop"}
    found = resource(environment, service="dodona-router", instance="r1", version="1")
    assert found["service.name"] == "shop"
    assert found["service.instance.id"] == "r1"
    assert found["deployment.environment"] == "pro d"
    assert resource({}, service="dodona-router", instance="r1", version="1")["service.name"] == "dodona-router"


def test_without_an_endpoint_there_is_nothing() -> None:
    """No thread, no queue."""
    assert open_outbox(Tracing(), {}, service="s", instance="i") is None
