"""A router of two processes that share their ports, with real workers and real clients."""

import http.client
import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from protos import inference_pb2
from tests.integration.up import Up, all_gone, pack_echo, until

CONNECTIONS = 24
# gRPC's own retries: a call that a lost connection took with it is made again, on a new connection.
RETRYING = (
    '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.05s",'
    ' "maxBackoff": "0.5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}'
)


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[Up]:
    """One cluster for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("processes")
    pack_echo(folder / "models", "echo")
    scarce = pack_echo(folder / "models", "scarce", delay_s=0.02)
    with (scarce.parent / "model.yaml").open("a") as definition:
        definition.write("batching: {max_batch_rows: 1}\n")
    with Up(folder, "--router-processes", "2") as up:
        up.event("ready")
        until(lambda: ready(up))
        yield up


def address(up: Up, listener: str) -> str:
    return str(up.events[0][listener])


def ours(up: Up, word: str) -> list[psutil.Process]:
    """Processes of the cluster with this word in their command."""
    found = []
    for process in up.descendants():
        with suppress(psutil.Error):  # gone meanwhile
            if word in process.cmdline():
                found.append(process)
    return found


def processes(up: Up) -> list[psutil.Process]:
    """The router's, without their parent."""
    return ours(up, "--member-fd")


def parent(up: Up) -> psutil.Process:
    return ours(up, "dodona.cluster.bound")[0]


@contextmanager
def running(stop: threading.Event, *callers: Callable[[], None]) -> Iterator[None]:
    """The callers, each in a thread, until the end of the block; raises what they raised."""
    with ThreadPoolExecutor(len(callers)) as pool:
        started = [pool.submit(caller) for caller in callers]
        try:
            yield
        finally:
            stop.set()
        for caller in started:
            caller.result(30)


def ready(up: Up) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address(up, 'http')}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def figure(up: Up, name: str) -> float:
    """The sum of the series that begin so."""
    with urllib.request.urlopen(f"http://{address(up, 'metrics')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


# Else all channels of this process to one address share one connection.
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


def connected(up: Up) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(address(up, "grpc"), channel_args=[OWN_CONNECTION])


def clients(up: Up, held: ExitStack, count: int = CONNECTIONS) -> list[triton.InferenceServerClient]:
    """Each with a connection of its own: so many that both processes have some."""
    return [held.enter_context(connected(up)) for _ in range(count)]


def infer(
    client: triton.InferenceServerClient, values: list[float], model: str = "echo", timeout_s: float = 20
) -> None:
    """Raises InferenceServerException; AssertionError if the answer is another one's."""
    row = triton.InferInput("x", [1, 2], "FP32")
    row.set_data_from_numpy(np.array([values], np.float32))
    answer = client.infer(model, [row], client_timeout=timeout_s)
    assert answer.as_numpy("x").tolist() == np.array([values], np.float32).tolist()


def statuses(up: Up) -> Iterator[dict[str, Any]]:
    """As different connections get it."""
    for _ in range(6):
        with urllib.request.urlopen(f"http://{address(up, 'http')}/admin/v1/status", timeout=20) as answer:
            yield json.loads(answer.read())


def test_two_processes_are_one_router(up):
    """Every connection is served, whichever process has it; metrics, statistics and status count all calls exactly,
    whichever process is asked."""
    before = figure(up, "dodona_requests_total")
    with ExitStack() as held:
        asking = clients(up, held)
        for client in asking:
            for _ in range(5):
                infer(client, [1.0, 2.0])
        counted = before + 5 * CONNECTIONS
        assert figure(up, "dodona_requests_total") == counted
        assert figure(up, "dodona_request_seconds_count") == counted
        shares = [figure(up, f'dodona_router_process_connections{{process="{number}"}}') for number in (0, 1)]
        assert min(shares) >= 1
        assert sum(shares) == figure(up, "dodona_front_connections") == CONNECTIONS
        for status in statuses(up):
            assert [model["succeeded"] for model in status["models"]] == [counted, 0]
            assert [listener["protocol"] for listener in status["listeners"]].count("link") == 2
            assert sorted(worker["role"] for worker in status["workers"]) == ["agent", "worker"]
        assert figure(up, "dodona_router_processes") == 2
        assert figure(up, 'dodona_replicas{model="echo"') == 1
        assert figure(up, "dodona_link_peers") == 2
        for client in asking[:6]:
            statistics = client.get_inference_statistics("echo").model_stats[0]
            assert statistics.inference_stats.success.count == counted


def test_an_operator_speaks_to_all(up):
    """What one process answers of a load or unload holds in the other from then on."""
    with ExitStack() as held:
        asking = clients(up, held, 12)
        asking[0].unload_model("echo")
        for client in asking:
            with pytest.raises(InferenceServerException, match="unloaded by an operator"):
                infer(client, [1.0, 2.0])
        asking[1].load_model("echo")
        for client in asking:
            infer(client, [1.0, 2.0])


def call_again(call: Callable[[], None], failures: list[Exception]) -> None:
    """As a client does that tries again where it is safe."""
    for _ in range(20):
        try:
            call()
            return
        except InferenceServerException as error:
            failures.append(error)
            time.sleep(0.05)
    raise AssertionError(f"never answered: {failures}")


def triton_caller(up: Up, number: int, stop: threading.Event, answered: list[float], lost: list[Exception]) -> None:
    with connected(up) as client:
        for wanted in count(1.0):
            if stop.is_set():
                return
            call_again(partial(infer, client, [wanted, float(number)]), lost)
            answered.append(wanted)


def grpc_caller(up: Up, number: int, stop: threading.Event, answered: list[float]) -> None:
    """With gRPC's own retries nothing at all is seen of a process that dies."""
    options = [("grpc.service_config", RETRYING), OWN_CONNECTION]
    with grpc.insecure_channel(address(up, "grpc"), options=options) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for wanted in count(1.0):
            if stop.is_set():
                return
            row = np.array([wanted, number], np.float32).tobytes()
            request = inference_pb2.ModelInferRequest(model_name="echo", raw_input_contents=[row])
            request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
            answer = infer(request.SerializeToString(), timeout=10, wait_for_ready=True)
            assert inference_pb2.ModelInferResponse.FromString(answer).raw_output_contents == [row]
            answered.append(wanted)


def came_back(up: Up, restarts: float) -> bool:
    return figure(up, "dodona_router_restarts_total") == restarts and figure(up, "dodona_router_processes") == 2


def test_a_killed_process_takes_only_its_own_calls(up):
    """kill -9 of one process under load: retrying clients get every answer, their own and once, callers of the other
    process see nothing of it, no counter goes backwards, and the process comes back."""
    victim = processes(up)[0]
    restarts = figure(up, "dodona_router_restarts_total")
    stop = threading.Event()
    lost: list[list[Exception]] = [[] for _ in range(10)]
    answers: list[list[float]] = [[] for _ in range(14)]
    counts = [figure(up, "dodona_requests_total")]
    callers = [partial(triton_caller, up, number, stop, answers[number], lost[number]) for number in range(10)]
    callers += [partial(grpc_caller, up, number, stop, answers[number]) for number in range(10, 14)]
    with running(stop, *callers):
        until(lambda: all(len(answered) > 20 for answered in answers))
        counts.append(figure(up, "dodona_requests_total"))
        victim.send_signal(signal.SIGKILL)
        seen = [len(answered) for answered in answers]
        until(lambda: counts.append(figure(up, "dodona_requests_total")) or came_back(up, restarts + 1))
        until(lambda: all(len(answered) > before + 20 for answered, before in zip(answers, seen, strict=True)))
        counts.append(figure(up, "dodona_requests_total"))
    assert counts == sorted(counts)
    assert all(answered == sorted(set(answered)) for answered in answers)
    assert 0 < sum(map(bool, lost)) < len(lost)  # some were connected to the other one, and saw nothing
    until(lambda: len(processes(up)) == 2 and ready(up))


class Caller:
    """A REST connection whose process is known: calls one after another, and counts the answers."""

    def __init__(self, up: Up, model: str) -> None:
        host, _, port = address(up, "http").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)
        self.connection.connect()
        ours = self.connection.sock.getsockname()[1]
        self.answered = 0
        self._path = f"/v2/models/{model}/infer"
        self.pid = 0
        until(lambda: bool(self._find(up, ours)))

    def _find(self, up: Up, port: int) -> int:
        ours = {process.pid for process in processes(up)}
        for end in psutil.net_connections("tcp4"):
            if end.raddr and end.raddr.port == port and end.pid in ours:
                self.pid = end.pid
        return self.pid

    def run(self, stop: threading.Event) -> None:
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})
        while not stop.is_set():
            self.connection.request("POST", self._path, body)
            answer = self.connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            self.answered += 1


@pytest.mark.parametrize(("many", "few", "least"), [(6, 6, 0.35), (12, 1, 0.2)])
def test_each_process_gets_its_share_of_a_worker(up, many, few, least):
    """Credits are shared evenly between the links, so the callers of one process do not starve those of the other:
    with as many callers on each, each gets about half; one caller beside twelve gets more than a thirteenth."""
    left, right = (process.pid for process in processes(up))
    callers: dict[int, list[Caller]] = {left: [], right: []}
    while len(callers[left]) < many or len(callers[right]) < few:
        caller = Caller(up, "scarce")
        callers[caller.pid].append(caller)
    chosen = [*callers[left][:many], *callers[right][:few]]
    stop = threading.Event()
    with running(stop, *(partial(caller.run, stop) for caller in chosen)):
        until(lambda: sum(caller.answered for caller in chosen) > 80)
    share = sum(caller.answered for caller in callers[right][:few]) / sum(caller.answered for caller in chosen)
    assert least < share < 0.65
    for caller in (*callers[left], *callers[right]):
        caller.connection.close()


def test_processes_are_replaced_one_by_one(up):
    """SIGHUP replaces both processes under load: the ports never close, the router stays ready, every call is answered,
    and what was counted stays counted exactly."""
    before = {process.pid for process in processes(up)}
    counted = figure(up, "dodona_requests_total")
    stop = threading.Event()
    answers: list[list[float]] = [[] for _ in range(4)]
    refused: list[OSError] = []

    def knock() -> None:
        while not stop.is_set():
            try:
                with urllib.request.urlopen(f"http://{address(up, 'http')}/v2/health/ready", timeout=5):
                    time.sleep(0.01)
            except OSError as error:
                refused.append(error)

    callers = [partial(grpc_caller, up, number, stop, answers[number]) for number in range(4)]
    with running(stop, *callers, knock):
        until(lambda: all(len(answered) > 20 for answered in answers))
        parent(up).send_signal(signal.SIGHUP)
        until(lambda: len(now := {process.pid for process in processes(up)}) == 2 and not now & before)
        until(lambda: figure(up, "dodona_router_processes") == 2)
    # A connection that a process was given just before it leaves is reset, or told that it drains: one each at most.
    assert len(refused) <= 2
    assert figure(up, "dodona_requests_total") == counted + sum(map(len, answers))


def test_sigterm_drains_every_process(tmp_path):
    """What all processes had accepted is answered; then they are gone, with their parent and their sockets."""
    pack_echo(tmp_path / "models", "slow", delay_s=0.5)
    with Up(tmp_path, "--router-processes", "2") as up, ExitStack() as held:
        up.event("ready")
        until(lambda: ready(up))
        running = up.descendants()
        asking = clients(up, held, 12)
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(infer, client, [1.0, 2.0], "slow") for client in asking]
            until(lambda: any(status["in_flight"] + status["pending"] == 12 for status in statuses(up)))
            up.send(signal.SIGTERM)
            for answer in answers:
                answer.result(30)
        up.event("stopped")
        assert up.ended() == 0
        assert all_gone(running)
        assert not list(Path(tmp_path / ".dodona").glob("link.sock*"))
        log = up.log.read_text()
        assert '"level":"warning"' not in log
        assert {"router", "router-0", "router-1"} <= set(re.findall(r'"process":"([^"]+)"', log))


def test_processes_end_with_their_parent(tmp_path):
    """kill -9 of the parent and of whoever started it leaves nothing behind."""
    pack_echo(tmp_path / "models", "echo")
    with Up(tmp_path, "--router-processes", "2") as up:
        up.event("ready")
        running = up.descendants()
        parent(up).kill()
        os.kill(up.process.pid, signal.SIGKILL)
        assert all_gone(running)
