"""Where settings come from, in which order, and what is said when one is wrong."""

import pytest

from dodona.config import load
from serving.errors import ConfigurationError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*args, **kwargs) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


def test_defaults_without_a_file(here):
    """Nothing given is no error, and nothing has a source."""
    configuration = load(environment={})
    assert configuration.settings.repository == "./models"
    assert configuration.settings.router.grpc_port == 8001
    assert configuration.sources == {}


def test_each_layer_overrules_the_one_before(here):
    """Defaults < file < environment < command line, key by key."""
    (here / "dodona.yaml").write_text("router:\n  grpc_port: 1\n  http_port: 2\n  metrics_port: 3\n")
    configuration = load(
        environment={"DODONA_ROUTER__HTTP_PORT": "20", "DODONA_ROUTER__METRICS_PORT": "30"},
        flags={"--metrics-port": ("router.metrics_port", 300), "--host": ("router.host", None)},
    )
    router = configuration.settings.router
    assert (router.grpc_port, router.http_port, router.metrics_port, router.host) == (1, 20, 300, "127.0.0.1")
    assert configuration.sources == {
        ("router", "grpc_port"): "dodona.yaml",
        ("router", "http_port"): "DODONA_ROUTER__HTTP_PORT",
        ("router", "metrics_port"): "--metrics-port",
    }


def test_file_is_chosen_by_option_then_environment(here):
    """--config comes before DODONA_CONFIG, and that before ./dodona.yaml."""
    for name in ("a", "b", "dodona"):
        (here / f"{name}.yaml").write_text(f"repository: {name}\n")
    assert load("a.yaml", {"DODONA_CONFIG": "b.yaml"}).settings.repository == "a"
    assert load(None, {"DODONA_CONFIG": "b.yaml"}).settings.repository == "b"
    assert load(None, {}).settings.repository == "dodona"


def test_environment_values_take_the_type_of_their_key(here):
    """A text stays a text even if it looks like a number; numbers and truth values are read as YAML."""
    settings = load(
        environment={
            "DODONA_REPOSITORY": "2024",
            "DODONA_ROUTER__LINK__TOKEN": "0123",
            "DODONA_ROUTER__DEFAULT_TIMEOUT_S": "1.5",
            "DODONA_WORKERS__ONNX__REPLICAS": "2",
        }
    ).settings
    assert settings.repository == "2024"
    assert settings.router.link.token.get_secret_value() == "0123"
    assert settings.router.default_timeout_s == 1.5
    assert settings.workers["onnx"].replicas == 2


def test_variables_that_are_not_settings_are_left_alone(here):
    """Clients' variables, and those that Kubernetes sets for a Service called dodona, are no typing errors."""
    environment = {
        "DODONA_URL": "grpc://x:1",
        "DODONA_TRACEBACK": "1",
        "DODONA_SERVICE_HOST": "10.0.0.1",
        "DODONA_ROUTER_SERVICE_PORT_GRPC": "8001",
        "DODONA_ROUTER_PORT": "tcp://10.0.0.1:8001",
        "DODONA_ROUTER_PORT_8001_TCP_ADDR": "10.0.0.1",
        "HOME": "/",
    }
    assert load(environment=environment).sources == {}


def test_empty_blocks_mean_defaults(here):
    """`router:` with nothing below, an empty file and a comment are all fine."""
    (here / "dodona.yaml").write_text("router:\n  limits:\nworkers:\n")
    assert load(environment={}).settings.router.limits.max_pending == 10_000
    (here / "dodona.yaml").write_text("# nothing\n")
    assert load(environment={}).settings.router.grpc_port == 8001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("router:\n  grpc_prt: 1\n", "dodona.yaml: router.grpc_prt: unknown key; did you mean 'grpc_port'?"),
        ("routr: {grpc_port: 1}\n", "dodona.yaml: routr: unknown key; did you mean 'router'?"),
        ("repo: x\n", "dodona.yaml: repo: unknown key; known keys: log_file"),
        ("router:\n  grpc_port: many\n", "got 'many'"),
        ("router:\n  front: envoy\n", "Input should be 'http2' or 'grpcio'; got 'envoy'"),
        ("workers:\n  onnx:\n    replica: 2\n", "workers.onnx.replica: unknown key; did you mean 'replicas'?"),
        ("workers:\n  onx: {}\n", "got 'onx'"),
        ("supervise:\n  nice: 40\n", "supervise.nice: Input should be less than or equal to 19; got 40"),
        ("router: 5\n", "dodona.yaml: router: must be a block of keys with their values; got 5"),
        ("- a\n", "dodona.yaml: must be a mapping; see `dodona config --explain`"),
        (
            "router:\n  grpc_port: 1\n  grpc_port: 2\n",
            "dodona.yaml: 'grpc_port' is there twice, at line 2 and at line 3; keep one of them",
        ),
        ("a: b: c\n", "dodona.yaml: not valid YAML at line 1; check the indentation"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(here, text, expected):
    """The message says which file, which key, and what would be right."""
    (here / "dodona.yaml").write_text(text)
    assert expected in refusal(environment={})


def test_a_file_that_cannot_be_read_is_named(here):
    """A file that was asked for must be there and be text."""
    assert refusal("other.yaml", {}).startswith("other.yaml: cannot be read: No such file")
    (here / "other.yaml").write_bytes(b"\xff\xfe\xfa")
    assert "not valid UTF-8" in refusal("other.yaml", {})


def test_a_wrong_variable_is_named():
    """An override that does not exist or does not fit names the variable."""
    assert refusal(environment={"DODONA_REPOSITRY": "x"}) == (
        "DODONA_REPOSITRY: repositry: unknown key; did you mean 'repository'?"
    )
    assert refusal(environment={"DODONA_ROUTER__GRPC_PORT": "x"}).startswith("DODONA_ROUTER__GRPC_PORT: router.grpc")
    assert refusal(environment={"DODONA_ROUTER__GRPC_PORT": "a: b: c"}).endswith("is not a YAML value; quote it")
    assert "repository is no block" in refusal(environment={"DODONA_REPOSITORY": "x", "DODONA_REPOSITORY__URL": "y"})


def test_a_wrong_option_is_named(here):
    """The message names the option as it was typed."""
    assert refusal(environment={}, flags={"--grpc-port": ("router.grpc_port", 70_000)}).startswith(
        "--grpc-port: router.grpc_port: Input should be less than or equal to 65535"
    )
