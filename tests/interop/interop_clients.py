"""Foreign clients against our fronts, directly and through Envoy: `make interop`.

Each client runs every scenario (unary, all streaming kinds, deadlines, cancellation, metadata with -bin, gzip, errors
with percent-encoded text, large messages, many calls, keep-alive) in a process of its own and says what went wrong.
"""

import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.interop.install import CLASSES, CLASSPATH, HERE, NODE
from tests.interop.server import FAULT, SERVICE
from tests.interop.targets import envoy, front

TIMEOUT_S = 120.0
Client = Callable[..., dict[str, str]]


def _outcomes(command: list[str], environment: dict[str, str]) -> dict[str, str]:
    ran = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return {each["name"]: each["fault"] for each in found}


def grpc_js(address: str, *scenarios: str) -> dict[str, str]:
    command = ["node", str(HERE / "js" / "client.js"), address, *scenarios]
    return _outcomes(command, {"NODE_PATH": str(NODE / "node_modules")})


def grpc_java(address: str, *scenarios: str) -> dict[str, str]:
    return _outcomes(["java", "-cp", f"{CLASSES}:{CLASSPATH}", "Interop", address, *scenarios], {})


@pytest.fixture(scope="module", params=["http2", "grpcio", "envoy-http2"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a front, or of Envoy before ours."""
    kind = str(request.param)
    with front(kind.removeprefix("envoy-")) as direct:
        if kind.startswith("envoy"):
            with envoy(direct, tmp_path_factory.mktemp("envoy")) as proxied:
                yield proxied
        else:
            yield direct


# docs/reference/http2.md lists what differs on the twin: its core takes frequent PINGs for a flood, and cancels some of
# the calls that were begun above its limit before its SETTINGS had come.
REFUSED_BY_GRPCIO = {"keepalive", "many"}


@pytest.mark.parametrize("client", [grpc_js, grpc_java])
def test_every_scenario(client: Client, address: str, request: pytest.FixtureRequest) -> None:
    """No scenario has a fault, and all have run."""
    outcomes = client(address)
    assert len(outcomes) >= 13
    faults = {name: fault for name, fault in outcomes.items() if fault}
    if request.node.callspec.params["address"] == "grpcio":
        faults = {name: fault for name, fault in faults.items() if name not in REFUSED_BY_GRPCIO}
    assert faults == {}


@pytest.mark.parametrize("client", [grpc_js, grpc_java])
@pytest.mark.parametrize("kind", ["http2", "grpcio"])
def test_clients_follow_goaway(client: Client, kind: str) -> None:
    """Connections are asked to go several times a second: calls in flight are answered, none fails."""
    with front(kind, "--age", "0.3") as aging:
        assert client(aging, "steady") == {"steady": ""}


def test_envoy_follows_goaway(tmp_path: Path) -> None:
    """The same through a proxy, which holds the connections to us."""
    with front("http2", "--age", "0.3") as aging, envoy(aging, tmp_path) as proxied:
        assert grpc_js(proxied, "steady") == {"steady": ""}


def test_grpcio(address: str) -> None:
    """C-core: metadata, errors, gzip, a large message, deadline, streams. tests/conformance has the rest."""
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    with grpc.insecure_channel(address, options) as channel:
        reply, call = channel.unary_unary(SERVICE + "Echo").with_call(
            b"hi", metadata=(("x-echo", "1"), ("x-echo-bin", b"\x00\xff"))
        )
        assert reply == b"hi"
        initial = dict(call.initial_metadata())
        assert (initial["x-echo"], initial["x-echo-bin"]) == ("1", b"\x00\xff")
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(SERVICE + "Fail")(b"")
        assert (failed.value.code().name, failed.value.details()) == ("INVALID_ARGUMENT", FAULT)
        large = os.urandom(1000) * 20_000
        packed = channel.unary_unary(SERVICE + "Echo")(large, compression=grpc.Compression.Gzip)
        assert packed == large
        with pytest.raises(grpc.RpcError) as late:
            channel.unary_unary(SERVICE + "Hold")(b"", timeout=0.3)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        words = [b"%d" % number for number in range(500)]
        assert list(channel.stream_stream(SERVICE + "Both")(iter(words))) == words


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A gRPC request body: prefix and message."""
    path = tmp_path / "body"
    path.write_bytes(struct.pack(">BI", 0, 5) + b"hello")
    return path


HEADERS = ("content-type: application/grpc", "te: trailers")


def test_curl(address: str, body: Path) -> None:
    """curl with prior knowledge of HTTP/2 gets the framed message back, and grpc-status 0 in the trailers."""
    command = ["curl", "--silent", "--include", "--http2-prior-knowledge", "--max-time", "20"]
    for header in HEADERS:
        command += ["--header", header]
    url = f"http://{address}{SERVICE}Echo"
    ran = subprocess.run(
        [*command, "--data-binary", f"@{body}", url], capture_output=True, timeout=TIMEOUT_S, check=True
    )
    head, _, rest = ran.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 200")
    assert rest.startswith(body.read_bytes())
    assert b"grpc-status: 0" in rest


def test_nghttp(address: str, body: Path, request: pytest.FixtureRequest) -> None:
    """nghttp sees a head, DATA, trailers and no error; with padding too, which C-core does not take on HEADERS."""
    command = ["nghttp", "--verbose", "--timeout=20", f"--data={body}"]
    if request.node.callspec.params["address"] != "grpcio":
        command.append("--padding=200")
    command += [f"--header={header}" for header in HEADERS]
    url = f"http://{address}{SERVICE}Echo"
    ran = subprocess.run([*command, url], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert ":status: 200" in ran.stdout
    assert "grpc-status: 0" in ran.stdout
    assert "RST_STREAM" not in ran.stdout


def test_h2load(address: str, body: Path) -> None:
    """Ten thousand calls on ten connections of a hundred streams: every one has status 200."""
    command = ["h2load", "--requests=10000", "--clients=10", "--max-concurrent-streams=100", f"--data={body}"]
    command += [f"--header={header}" for header in HEADERS]
    url = f"http://{address}{SERVICE}Echo"
    ran = subprocess.run([*command, url], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert "10000 succeeded, 0 failed, 0 errored, 0 timeout" in ran.stdout
