"""What the REST edge costs: one-row binary and JSON infer requests over HTTP/1.1, answered by a dispatcher that replies
at once, so that everything but the listener and the edge is left out.

    python -m loadtests.rest_edge [--requests 40000] [--connections 32] [--rounds 3]

Variants run interleaved and the median is shown: `dodona` (our listener and router/edge/rest), `floor` (our listener,
answering a fixed body) and `uvicorn` (its protocol class and an ASGI callable that answers a fixed body).
Needs `h2load` (Debian: nghttp2-client).
"""

import argparse
import asyncio
import struct
import subprocess
import sys
import time
from statistics import median
from typing import Any

import orjson

from loadtests import h2load
from loadtests.h2load import Load
from protos import inference_pb2, link_pb2
from router.compose import compose
from router.core import Core
from router.edge.rest.app import rest_app
from router.front.exchange import Application, Exchange
from router.front.rest import RestFront
from router.http1.heads import Head
from router.replica import Replica
from router.settings import Limits, RouterSettings, Tls
from serving import loop as serving_loop

COLUMNS = 30
VALUES = [index / 7 for index in range(COLUMNS)]
VARIANTS = ("dodona", "floor", "uvicorn")
FORMS = ("binary", "json")


def bodies() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Form -> body and headers, as tritonclient.http sends them."""
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, COLUMNS],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 4 * COLUMNS},
                }
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    )
    text = orjson.dumps({"inputs": [{"name": "x", "shape": [1, COLUMNS], "datatype": "FP32", "data": VALUES}]})
    raw = struct.pack(f"<{COLUMNS}f", *VALUES)
    return {
        "binary": (head + raw, {"inference-header-content-length": str(len(head))}),
        "json": (text, {"content-type": "application/json"}),
    }


class AtOnce:
    """In the place of the dispatcher: the same reply to all, in the next turn of the loop."""

    def __init__(self) -> None:
        reply = inference_pb2.ModelInferResponse(model_name="m", model_version="1")
        reply.outputs.add(name="y", datatype="FP32", shape=[1, 2])
        reply.raw_output_contents.append(struct.pack("<2f", 0.25, 0.75))
        self._reply = reply.SerializeToString()
        self._loop = asyncio.get_running_loop()

    def submit(self, inference: Any) -> None:
        self._loop.call_soon(inference.on_reply, self._reply)

    def cancel(self, inference: Any) -> None:
        """Nothing is ever waiting."""


def make_core() -> Core:
    loop = asyncio.get_running_loop()
    core = compose(RouterSettings(), clock=loop.time, call_at=loop.call_at)
    replica = Replica(link_pb2.Hello(name="none"), write=list, soon=loop.call_soon, clock=loop.time)
    spec = link_pb2.TensorSpec(name="x", datatype="FP32", shape=[COLUMNS])
    core.catalogue.announce(replica, [link_pb2.Model(handle=1, name="m", version="1", batched=True, inputs=[spec])])
    core.dispatcher = AtOnce()  # type: ignore[assignment]
    return core


class Floor:
    """A fixed body for everything, without an edge."""

    def start(self, exchange: Exchange) -> None:
        exchange.reply(200, b"content-type: application/json\r\n", b"{}")

    def vet(self, head: Head) -> None:
        """Nothing is refused."""

    async def close(self) -> None:
        """Nothing is held."""


async def uvicorn_app(_: Any, receive: Any, send: Any) -> None:
    await receive()
    fields = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"{}"})


async def listen_with_uvicorn() -> str:
    """Its protocol class alone, in our event loop."""
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    config = Config(uvicorn_app, http=HttpToolsProtocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    host, port = server.sockets[0].getsockname()[:2]
    return f"{host}:{port}"


async def listen(variant: str) -> str:
    if variant == "uvicorn":
        return await listen_with_uvicorn()
    application: Application = rest_app(make_core()) if variant == "dodona" else Floor()
    return await RestFront(application, "127.0.0.1", 0, Limits(), Tls()).start()


async def serve(variant: str) -> None:
    """One variant, until standard input closes; prints the CPU seconds it took whenever it is asked."""
    print(await listen(variant), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time() if line.strip() == "cpu" else "?", flush=True)


class Server:
    def __init__(self, variant: str) -> None:
        command = [sys.executable, "-m", "loadtests.rest_edge", "--serve", variant]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def cpu_s(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("cpu\n")
        self._process.stdin.flush()
        return float(self._read())

    def stop(self) -> None:
        self._process.communicate(timeout=10)


def load(address: str, form: str, requests: int, connections: int) -> float:
    """Requests per second; raises RuntimeError if any was not answered 2xx."""
    body, headers = bodies()[form]
    what = Load(f"http://{address}/v2/models/m/infer", body, tuple(headers.items()), connections, http1=True)
    outcome = h2load.run(what, requests, timeout_s=120)
    if outcome.succeeded != requests:
        raise RuntimeError(f"{requests - outcome.succeeded} of {requests} requests failed")
    return outcome.rate


def measure(requests: int, connections: int, rounds: int) -> None:
    servers = {variant: Server(variant) for variant in VARIANTS}
    figures: dict[tuple[str, str], list[tuple[float, float]]] = {}
    turns = [(variant, form) for _ in range(rounds) for form in FORMS for variant in VARIANTS]
    try:
        for number, (variant, form) in enumerate(turns, 1):
            before = servers[variant].cpu_s()
            rate = load(servers[variant].address, form, requests, connections)
            cpu_us = (servers[variant].cpu_s() - before) / requests * 1e6
            figures.setdefault((variant, form), []).append((rate, cpu_us))
            print(f"\rrun {number} of {len(turns)}", end="", file=sys.stderr)
    finally:
        for server in servers.values():
            server.stop()
    print(f"\n{'variant':10} {'form':7} {'req/s':>8} {'CPU us/req':>11}")
    for (variant, form), runs in sorted(figures.items(), key=lambda entry: entry[0][1]):
        print(f"{variant:10} {form:7} {median(run[0] for run in runs):8.0f} {median(run[1] for run in runs):11.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40_000, help="requests of one run")
    parser.add_argument("--connections", type=int, default=32, help="connections, one request in flight on each")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each variant and form; the median is shown")
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serving_loop.run(serve(arguments.serve))
    else:
        measure(arguments.requests, arguments.connections, arguments.rounds)


if __name__ == "__main__":
    main()
