"""`dodona up` and the commands around it, with real routers and workers."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest
from typer.testing import CliRunner

from dodona.cli.app import app
from dodona.client import Client
from dodona.cluster import ClusterError, LocalCluster, running
from dodona.config import ClusterSettings
from router.settings import RouterSettings
from serving.agent.settings import Supervise
from serving.errors import ConfigurationError, ModelNotFound, Unavailable
from serving.spec import State
from tests.integration.up import DODONA, Up, all_gone, copy_slowly_first_half, pack_echo, until

ANY_PORTS = RouterSettings(grpc_port=0, http_port=0, metrics_port=0, drain_grace_s=10)
ROW = {"x": [[1.0, 2.0]]}


def settings_in(folder, **more) -> ClusterSettings:
    return ClusterSettings(
        repository=str(folder / "models"),
        run_folder=str(folder / "run"),
        log_file=str(folder / "cluster.log"),
        router=ANY_PORTS,
        supervise=Supervise(restart_delay_s=0.05, poll_interval_s=0.1),
        **more,
    )


def router_of(up: Up) -> psutil.Process:
    return next(process for process in up.descendants() if "router" in process.cmdline())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the shared cluster runs."""
    folder = tmp_path_factory.mktemp("up")
    pack_echo(folder / "models", "echo")
    return folder


@pytest.fixture(scope="module")
def up(folder):
    """One `dodona up` for the tests that leave it as they found it."""
    with Up(folder) as up:
        up.event("ready")
        yield up
        up.send(signal.SIGTERM)
        assert up.ended() == 0


@pytest.fixture
def dodona(up, folder, monkeypatch):
    """Commands typed in the folder where the cluster runs; they find it by themselves."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DODONA_URL", raising=False)
    return lambda *words, **kwargs: CliRunner().invoke(app, list(words), **kwargs)


@pytest.fixture
def client(up):
    with Client(f"grpc://{up.events[0]['grpc']}", timeout_s=20) as client:
        yield client


def test_started_and_ready_are_told(up):
    """The first event names the addresses, and REST and metrics answer there."""
    started = up.events[0]
    assert started["event"] == "started"
    with urllib.request.urlopen(f"http://{started['http']}/v2/health/live", timeout=10) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://{started['metrics']}/metrics", timeout=10) as answer:
        assert b"dodona_" in answer.read()
    assert {"event": "ready", "models": 1} in up.events


def test_models_and_status(dodona):
    """Both list the model and the processes, as a table and as JSON."""
    models = json.loads(dodona("models", "--json").stdout)["models"]
    echo = next(model for model in models if model["name"] == "echo")
    assert (echo["version"], echo["state"], echo["default"], echo["replicas"]) == ("1", "READY", True, 1)
    assert echo["inputs"] == ["x FP32[-1,2]"] or echo["inputs"] == ["x FP32[2]"]
    table = dodona("models", "echo")
    assert table.exit_code == 0
    assert "echo   1 *      echo       READY" in table.stdout
    assert "echo/1 takes x FP32" in table.stdout
    status = json.loads(dodona("status", "--json").stdout)
    assert {worker["role"] for worker in status["workers"]} == {"worker", "agent"}
    assert set(status["listeners"]) == {"grpc", "http", "metrics", "link"}
    assert "echo-1" in dodona("status").stdout


def test_unknown_model_is_a_clear_failure(dodona):
    """`dodona models NAME` says what there is."""
    result = dodona("models", "nosuch")
    assert result.exit_code == 1
    assert "no model 'nosuch'; there is echo" in result.stderr


def test_predict_one(dodona):
    """Inputs by name, records, standard input; JSON and table."""
    answer = json.loads(dodona("predict", "echo", "--json", '{"x": [[1, 2]]}', "--raw").stdout)
    assert (answer["model"], answer["version"], answer["outputs"]) == ("echo", "1", {"x": [[1.0, 2.0]]})
    record = dodona("predict", "echo", "--json", "-", "--raw", input='{"a": 3, "b": 4}')
    assert json.loads(record.stdout)["outputs"] == {"x": [[3.0, 4.0]]}
    table = dodona("predict", "echo", "--json", '{"a": 3, "b": 4}', "--table")
    assert table.stdout.splitlines()[0].split() == ["x[a]", "x[b]"]
    assert "echo/1 answered in" in table.stdout


def test_predict_a_file(dodona, folder):
    """Rows are cut into requests, answered in order and written as asked."""
    (folder / "rows.csv").write_text("a,b\n" + "".join(f"{number},{-number}\n" for number in range(1000)))
    result = dodona("predict", "echo", "--file", "rows.csv", "--output", "out.csv", "--batch-rows", "64")
    assert result.exit_code == 0, result.stderr
    lines = (folder / "out.csv").read_text().splitlines()
    assert lines[0] == '"x[a]","x[b]"'
    assert lines[1:] == [f"{number},{-number}" for number in range(1000)]
    rows = json.loads(dodona("predict", "echo", "--file", "rows.csv", "--raw", "--keep-inputs").stdout)
    assert rows["rows"][7] == {"a": 7, "b": -7, "x[a]": 7.0, "x[b]": -7.0}
    same = dodona("predict", "echo", "--file", "rows.csv", "--output", "./rows.csv")
    assert (same.exit_code, "is the file that --file reads" in same.stderr) == (2, True)
    assert "1000 rows in 4 requests, " in dodona("predict", "echo", "--file", "rows.csv", "--table").stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("predict", "nosuch", "--json", "{}"), 1, "nosuch"),
        (("predict", "echo", "--json", '{"x": [[1]]}'), 1, "x"),
        (("predict", "echo", "--json", '{"c": 1}'), 1, "c"),
    ],
)
def test_refused_predictions_are_one_line(dodona, words, code, text):
    """What the server or the client refuses is said in one line."""
    result = dodona(*words)
    assert result.exit_code == code
    assert result.stderr.startswith("dodona: ")
    assert result.stderr.count("\n") == 1
    assert text in result.stderr


def test_life_of_a_version(up, folder, client, dodona):
    """A half-copied version waits, a whole one serves, a newer one becomes the default, a removed one goes."""
    other = folder / "elsewhere"
    source = pack_echo(other, "late", "1")
    finish = copy_slowly_first_half(source, folder / "models" / "late" / "1")
    shutil.copy(other / "late" / "model.yaml", folder / "models" / "late" / "model.yaml")
    half = up.event("version", name="late", state="UNAVAILABLE")
    assert "MANIFEST.json" in half["reason"]
    with pytest.raises((Unavailable, ModelNotFound)):
        client.predict("late", ROW, timeout_s=0.2)
    finish()
    up.event("version", name="late", state="READY")
    assert client.predict("late", ROW).version == "1"
    pack_echo(folder / "models", "late")
    up.event("version", name="late", version="2", state="READY")
    until(lambda: client.predict("late", ROW).version == "2")
    shutil.rmtree(folder / "models" / "late" / "2")
    up.event("version", name="late", version="2", state="REMOVED")
    assert client.predict("late", ROW).version == "1"
    shutil.rmtree(folder / "models" / "late")
    up.event("version", name="late", version="1", state="REMOVED")
    assert [model["name"] for model in json.loads(dodona("models", "--json").stdout)["models"]] == ["echo"]


def test_broken_version_is_reported_and_disturbs_nothing(up, folder, client, dodona):
    """A wrong digest is FAILED with its reason, exit code 4; mended it is served."""
    broken = pack_echo(folder / "elsewhere", "bad", "1")
    (folder / "models" / "bad").mkdir()
    definition = (folder / "elsewhere" / "bad" / "model.yaml").read_text()
    shutil.copytree(broken, folder / "models" / "bad" / "1")
    (folder / "models" / "bad" / "model.yaml").write_text(definition + "nonsense: 1\n")
    failed = up.event("version", name="bad", state="FAILED")
    assert "nonsense" in failed["reason"]
    listed = dodona("models")
    assert listed.exit_code == 4
    assert "bad/1 FAILED: " in listed.stdout
    assert client.predict("echo", ROW).outputs["x"].tolist() == [[1.0, 2.0]]
    (folder / "models" / "bad" / "model.yaml").write_text(definition)
    up.event("version", name="bad", state="READY")
    assert client.predict("bad", ROW).version == "1"
    shutil.rmtree(folder / "models" / "bad")
    up.event("version", name="bad", state="REMOVED")


def test_operator_unloads_and_loads(up, client):
    """RepositoryModelUnload takes a model out of service, Load brings it back."""
    client.unload("echo")
    with pytest.raises(Unavailable):
        client.predict("echo", ROW, timeout_s=0.2)
    client.load("echo")
    assert client.predict("echo", ROW).version == "1"


def test_killed_worker_comes_back(up, client):
    """After kill -9 of the only worker a request waits for the next one and is answered."""
    worker = next(worker for worker in client.status().workers if worker.role == "worker")
    os.kill(worker.pid, signal.SIGKILL)
    assert client.predict("echo", ROW).outputs["x"].tolist() == [[1.0, 2.0]]
    until(lambda: any(other.role == "worker" and other.pid != worker.pid for other in client.status().workers))


def test_killed_router_comes_back_where_it_was(up, client):
    """The router is restarted on the same ports, and workers and callers find it again."""
    router_of(up).kill()

    def answered() -> bool:
        try:
            return client.predict("echo", ROW, timeout_s=2).version == "1"
        except (Unavailable, ModelNotFound):
            return False

    until(answered)


@pytest.mark.parametrize("signals", [1, 3])
def test_sigterm_answers_what_was_accepted(tmp_path, signals):
    """A request that runs when SIGTERM comes is answered; then every process is gone, and the exit code is 0. Signals
    that come together, as from `timeout`, are one wish."""
    pack_echo(tmp_path / "models", "slow", delay_s=1.0)
    with Up(tmp_path) as up:
        address = up.event("started")["grpc"]
        up.event("ready")
        processes = up.descendants()
        answers = []
        with Client(f"grpc://{address}", timeout_s=20) as client:
            asking = threading.Thread(target=lambda: answers.append(client.predict("slow", ROW)))
            asking.start()
            with Client(f"grpc://{address}", timeout_s=20) as other:
                until(lambda: other.status().in_flight == 1)
            for _ in range(signals):
                up.send(signal.SIGTERM)
            asking.join(20)
        assert [answer.outputs["x"].tolist() for answer in answers] == [[[1.0, 2.0]]]
        up.event("stopped")
        assert up.ended() == 0
        assert [event["event"] for event in up.events][-2:] == ["draining", "stopped"]
        assert all_gone(processes)
        assert not (tmp_path / ".dodona" / "addresses.json").exists()
        assert '"level":"warning"' not in up.log.read_text()


def test_second_signal_ends_everything_at_once(tmp_path):
    """Ctrl-C twice does not wait for a router that will not go."""
    pack_echo(tmp_path / "models", "echo")
    with Up(tmp_path) as up:
        up.event("ready")
        processes = up.descendants()
        router_of(up).suspend()
        up.send(signal.SIGINT)
        up.event("draining")
        time.sleep(0.5)  # signals that come together are one wish
        up.send(signal.SIGINT)
        up.event("stopped")
        assert up.ended() == 0
        assert [event["event"] for event in up.events][-2:] == ["draining", "stopped"]
        assert all_gone(processes)


def test_cluster_serves_on_when_nobody_reads_its_events(tmp_path):
    """A script that closes its end of the pipe must not stop the supervision."""
    pack_echo(tmp_path / "models", "echo")
    options = ("--log-file", "log", "--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")
    command = [*DODONA, "up", "--json", *options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            events = {}
            while "ready" not in events:
                event = json.loads(process.stdout.readline())
                events[event["event"]] = event
            process.stdout.close()
            with Client(f"grpc://{events['started']['grpc']}", timeout_s=20) as client:
                worker = next(worker for worker in client.status().workers if worker.role == "worker")
                psutil.Process(worker.pid).kill()
                assert client.predict("echo", ROW).outputs["x"].tolist() == ROW["x"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_unreadable_repository_is_shown(tmp_path):
    """What serves goes on; `dodona status` and `dodona models` say that changes are not seen."""
    pack_echo(tmp_path / "models", "echo")
    with Up(tmp_path) as up:
        address = up.event("started")["grpc"]
        up.event("ready")
        (tmp_path / "models").rename(tmp_path / "away")
        with Client(f"grpc://{address}", timeout_s=20) as client:
            until(lambda: any(worker.fault for worker in client.status().workers))
            assert client.predict("echo", ROW).outputs["x"].tolist() == ROW["x"]
        for command in ("status", "models"):
            shown = CliRunner().invoke(app, [command, "--url", f"grpc://{address}"]).stdout
            assert "the repository cannot be read" in shown


def test_no_process_outlives_a_killed_parent(tmp_path):
    """kill -9 of `dodona up` takes router and workers with it."""
    pack_echo(tmp_path / "models", "echo")
    with Up(tmp_path) as up:
        up.event("ready")
        processes = up.descendants()
        assert len(processes) == 2
        up.send(signal.SIGKILL)
        assert up.ended() == -signal.SIGKILL
        assert all_gone(processes)


@pytest.mark.parametrize("options", [(), ("--log-file", "-")])
def test_taken_port_is_one_line(tmp_path, options):
    """A port that is in use is named with its option, with the exit code of a failure, wherever the log goes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Up(tmp_path, "--grpc-port", str(port), *options) as up:
            assert up.ended() == 1
            complaint = up.stderr()
    assert complaint.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}: something else listens there" in complaint
    assert "choose another port with --grpc-port" in complaint


def test_empty_folder_says_what_to_do(tmp_path):
    """Without models the next command is printed; a model packed then is served."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DODONA_")}
    ports = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0", "--log-file", "up.log")
    process = subprocess.Popen(
        [sys.executable, "-m", "dodona.cli", "up", *ports],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        assert "Nothing to serve yet: ./models does not exist." in lines
        assert "dodona pack model.onnx --name my-model" in lines
        pack_echo(tmp_path / "models", "first")
        assert process.stdout.readline().strip().startswith("first/1 READY")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read().strip() == "stopped"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        process.stdout.close()


def test_cluster_in_a_block(tmp_path):
    """The synchronous form: with running(settings); replicas are separate processes."""
    pack_echo(tmp_path / "models", "echo")
    settings = settings_in(tmp_path, workers={"echo": {"replicas": 2}})
    with running(settings) as cluster:
        versions = cluster.ready(30)
        assert [(str(version.spec), version.state) for version in versions] == [("echo/1", State.READY)]
        processes = [psutil.Process(pid) for pid in cluster.pids.values()]
        assert sorted(cluster.pids) == ["echo-1", "echo-2", "router"]
        with Client(f"grpc://{cluster.grpc_address}", timeout_s=20) as client:
            assert client.predict("echo", ROW).version == "1"
            until(lambda: client.status().models[0].replicas == 2)
    assert all_gone(processes)


def test_cluster_in_an_event_loop(tmp_path):
    """The asynchronous form, its addresses, and the folder that only one cluster may have."""
    pack_echo(tmp_path / "models", "echo")
    settings = settings_in(tmp_path)

    async def scenario() -> None:
        cluster = LocalCluster(settings)
        with pytest.raises(ClusterError, match="start the cluster first"):
            _ = cluster.grpc_address
        with pytest.raises(ClusterError, match="has not started"):
            await cluster.ready()
        async with cluster:
            with pytest.raises(ConfigurationError, match="used by another running cluster"):
                await LocalCluster(settings).start()
            assert [version.state for version in await cluster.ready(30)] == [State.READY]
            assert cluster.link_address.startswith("unix:")
            assert cluster.metrics_address.startswith("127.0.0.1:")

    asyncio.run(scenario())


def test_cluster_that_is_not_ready_in_time_says_what_loads(tmp_path):
    """ready() is bounded, and names the versions that are still loading."""
    pack_echo(tmp_path / "models", "slow", delay_s=1.5)

    async def scenario() -> None:
        async with LocalCluster(settings_in(tmp_path)) as cluster:
            with pytest.raises(ClusterError, match=r"not ready after 0.01 s: "):
                await cluster.ready(0.01)

    asyncio.run(scenario())
