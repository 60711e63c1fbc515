"""Image tensors of 602 KB (FP32 [1,3,224,224]): over the wire and in shared memory, Dodona beside Triton.

    python -m loadtests.large_tensors                       # Dodona
    python -m loadtests.large_tensors --peers triton        # Triton too, installed first where it is not there yet

The model answers with four numbers of the image, so that what is measured is the server. Servers take turns, round by
round; the client is h2load, with a connection for each request in flight. Every answer is accounted for by its bytes.
"""

import argparse
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm

from dodona.client.description import Description
from dodona.cluster import running
from dodona.config import ClusterSettings
from loadtests import processes
from loadtests.answers import ask
from loadtests.bodies import GRPC_PATH
from loadtests.h2load import Load, run
from loadtests.peers import triton as triton_peer
from loadtests.peers.environment import install
from loadtests.peers.peer import SERVED, Launch, Scene
from loadtests.peers.running import started
from loadtests.processes import Usage
from protos import inference_pb2
from router.settings import RouterSettings
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.spec import Signature, TensorSpec

MODEL: Final = "corner"
SHAPE: Final = (3, 224, 224)
WORK: Final = Path(".dodona/large-tensors")
CACHE: Final = Path(".cache/peers")
CASE_TIMEOUT_S: Final = 120.0
WARM_UP_REQUESTS: Final = 200
CONFIG: Final = """name: "corner"
backend: "python"
max_batch_size: 16
input [{ name: "image" data_type: TYPE_FP32 dims: [3, 224, 224] }]
output [{ name: "corner" data_type: TYPE_FP32 dims: [4] }]
instance_group [{ count: 1 kind: KIND_CPU }]
dynamic_batching { }
"""


@dataclass(frozen=True)
class Server:
    """A started one. `usage`: CPU so far, by process."""

    address: str
    usage: Callable[[], Usage]


@dataclass(frozen=True)
class Figures:
    """Of one case in one round; CPU microseconds a request, of the whole server."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    parts: dict[str, float]


@contextmanager
def dodona(work: Path, front: str) -> Iterator[Server]:
    repository = work / "models"
    if not (repository / MODEL / "1" / "MANIFEST.json").exists():
        pack(
            SERVED / "corner.py",
            framework="python",
            class_="corner:Corner",
            name=MODEL,
            repository=repository,
            inputs=(TensorDefinition(name="image", datatype="FP32", shape=SHAPE),),
            outputs=(TensorDefinition(name="corner", datatype="FP32", shape=(4,)),),
            max_batch_rows=16,
        )
    settings = ClusterSettings(
        repository=str(repository),
        run_folder=str(work / "run"),
        log_file=str(work / "dodona.log"),
        router=RouterSettings(grpc_port=0, http_port=0, metrics_port=0, front=front),
    )
    with running(settings) as cluster:
        cluster.ready(60)
        yield Server(cluster.grpc_address, lambda: processes.usage(cluster.pids))


@contextmanager
def rival(work: Path) -> Iterator[Server]:
    def launch(scene: Scene) -> Launch:
        served = triton_peer.launch_model(scene, CONFIG, SERVED / "triton_corner.py", SERVED / "corner.py")
        return replace(served, command=[*served.command])

    tensors = TensorSpec("image", "FP32", SHAPE), TensorSpec("corner", "FP32", (4,))
    model = Description(MODEL, ("1",), "", Signature(tensors[:1], tensors[1:]))
    environment = install(CACHE / "triton", triton_peer.PEER.requirements)
    peer = replace(triton_peer.PEER, launch=launch)
    with started(peer, environment, model, SERVED / "corner.py", work) as found:
        yield Server(found.grpc_address, found.usage)


def wire(address: str, image: bytes, connections: int) -> Load:
    """The image in the request."""
    request = _request()
    request.raw_input_contents.append(image)
    return _load(address, request, connections)


def in_memory(address: str, region: str, size: int, connections: int) -> Load:
    """The image in a region: every request reads it there."""
    request = _request()
    request.inputs[0].parameters["shared_memory_region"].string_param = region
    request.inputs[0].parameters["shared_memory_byte_size"].int64_param = size
    return _load(address, request, connections)


def _request() -> inference_pb2.ModelInferRequest:
    request = inference_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="image", datatype="FP32", shape=(1, *SHAPE))
    return request


def _load(address: str, request: inference_pb2.ModelInferRequest, connections: int) -> Load:
    message = request.SerializeToString()
    headers = (("content-type", "application/grpc"), ("te", "trailers"))
    return Load(f"http://{address}{GRPC_PATH}", struct.pack(">BI", 0, len(message)) + message, headers, connections)


def measured(server: Server, load: Load, requests: int, expected: Sequence[float]) -> Figures:
    """Raises RuntimeError if an answer is wrong or missing."""
    answer = ask(load)
    if not np.allclose(answer.values, expected):
        raise RuntimeError(f"the answer is {answer.values}, it should be {expected}")
    run(load, WARM_UP_REQUESTS, timeout_s=CASE_TIMEOUT_S)
    before = server.usage().cpu_s
    outcome = run(load, requests, timeout_s=CASE_TIMEOUT_S)
    after = server.usage().cpu_s
    if outcome.succeeded != requests or outcome.data_bytes != requests * answer.size:
        raise RuntimeError(f"{requests} sent, {outcome.succeeded} answered with {outcome.data_bytes} bytes")
    parts = {name: (after[name] - before.get(name, 0.0)) / requests * 1e6 for name in after}
    return Figures(
        outcome.rate, outcome.quantile_s(0.5) * 1e3, outcome.quantile_s(0.99) * 1e3, sum(parts.values()), parts
    )


def cases_of(server: Server, image: np.ndarray, counts: Sequence[int], requests: int) -> Iterator[tuple[str, Figures]]:
    """Wire and shared memory, at each number in flight. A server that offers no shared memory sits that out."""
    expected = image.reshape(-1)[-4:].tolist()
    for count in counts:
        yield f"wire, {count}", measured(server, wire(server.address, image.tobytes(), count), requests, expected)
    key = f"/dodona-load-{uuid4().hex}"
    handle = shm.create_shared_memory_region("image", key, image.nbytes)
    try:
        shm.set_shared_memory_region(handle, [image])
        with triton.InferenceServerClient(server.address) as client:
            client.register_system_shared_memory("image", key, image.nbytes)
        for count in counts:
            load = in_memory(server.address, "image", image.nbytes, count)
            yield f"shared memory, {count}", measured(server, load, requests, expected)
    finally:
        shm.destroy_shared_memory_region(handle)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=[], choices=["triton"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000, help="of each case")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--front", default="http2", choices=["http2", "grpcio"])
    chosen = parser.parse_args(arguments)
    WORK.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(1).random((1, *SHAPE), np.float32)
    servers: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "dodona": lambda: dodona(WORK.absolute(), chosen.front)
    }
    if "triton" in chosen.peers:
        servers["triton"] = lambda: rival(WORK.absolute())
    found: dict[tuple[str, str], list[Figures]] = {}
    for number in range(chosen.rounds):
        order = list(servers.items())
        for name, start in order if number % 2 == 0 else reversed(order):
            with start() as server:
                for case, figures in cases_of(server, image, chosen.in_flight, chosen.requests):
                    found.setdefault((case, name), []).append(figures)
                    print(
                        f"round {number + 1}, {name}, {case}: {figures.rate:,.0f}/s, {figures.cpu_us:.0f} us",
                        flush=True,
                    )
    print(report(found))


def report(found: dict[tuple[str, str], list[Figures]]) -> str:
    """Medians with the lowest and the highest round."""
    lines = [
        "| case, in flight | server | requests/s | p50 ms | p99 ms | CPU us/request | of which |",
        "|---|---|---|---|---|---|---|",
    ]
    for (case, name), rounds in sorted(found.items(), key=lambda entry: entry[0]):
        parts = {
            part: median(figures.parts[part] for figures in rounds if part in figures.parts) for part in rounds[0].parts
        }
        shares = ", ".join(f"{part} {cpu:.0f}" for part, cpu in sorted(parts.items()))
        columns = [_spread([getattr(figures, field) for figures in rounds], digits) for field, digits in _COLUMNS]
        lines.append(f"| {case} | {name} | {' | '.join(columns)} | {shares} |")
    return "\n".join(lines)


_COLUMNS: Final = (("rate", 0), ("p50_ms", 1), ("p99_ms", 1), ("cpu_us", 0))


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


if __name__ == "__main__":
    main()
