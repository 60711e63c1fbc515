"""CPU and rate of the gRPC front alone: unary echo against h2load, beside grpc.aio echo in the same run.

    python -m loadtests.front_echo [--seconds 3] [--rounds 2] [--bytes 128]

Each server runs in its own process and is asked for its CPU seconds before and after every load; servers take turns,
so that noise falls on all alike. h2load (Debian's nghttp2-client) does not read grpc-status, so one answer is checked
by grpcio first. Bounded: every load has a fixed duration.
"""

import argparse
import asyncio
import multiprocessing
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import grpc
import psutil
import uvloop

from router.front.calls import Unary, UnaryCall
from router.front.http2 import Http2Front
from router.settings import Limits, Tls

PATH = "/inference.GRPCInferenceService/ModelInfer"
# (label, h2load arguments): connections, then concurrent streams on each.
LOADS = (
    ("32 connections x 1", ["-c", "32", "-m", "1"]),
    ("1 connection x 32", ["-c", "1", "-m", "32"]),
    ("1 connection x 1", ["-c", "1", "-m", "1"]),
)


def serve_http2(pipe: Pipe) -> None:
    def echo(call: UnaryCall) -> None:
        call.reply(call.message)

    async def main() -> None:
        front = Http2Front({PATH: Unary(echo)}, "127.0.0.1", 0, Limits(), Tls())
        pipe.send(await front.start())
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await front.drain(0.1)

    uvloop.run(main())


def serve_grpc_aio(pipe: Pipe) -> None:
    async def echo(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return request

    async def main() -> None:
        server = grpc.aio.server()
        service, method = PATH[1:].split("/")
        rpc = grpc.unary_unary_rpc_method_handler(echo)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: rpc}),))
        pipe.send(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await server.stop(0.1)

    asyncio.run(main())


def check(address: str, message: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary(PATH)(message, timeout=10)
    if answer != message:
        raise SystemExit(f"{address} answers {answer!r}")


def load(address: str, body: str, arguments: list[str], seconds: int) -> int:
    """Requests answered in one h2load run."""
    command = ["h2load", "-t", "1", "-D", str(seconds), *arguments, "-d", body]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{PATH}"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    failed = re.search(r"(\d+) failed, (\d+) errored", out)
    if failed is None or failed.groups() != ("0", "0"):
        raise SystemExit(out)
    done = re.search(r"(\d+) done", out)
    assert done is not None
    return int(done.group(1))


def measure(servers: dict[str, Callable[[Pipe], None]], seconds: int, rounds: int, size: int) -> None:
    pipes: dict[str, Pipe] = {}
    processes: dict[str, multiprocessing.Process] = {}
    addresses: dict[str, str] = {}
    figures: dict[tuple[str, str], list[tuple[float, float]]] = {}
    message = bytes(size)
    for name, serve in servers.items():
        pipes[name], theirs = multiprocessing.Pipe()
        processes[name] = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
        processes[name].start()
        addresses[name] = pipes[name].recv()
        check(addresses[name], message)
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + size.to_bytes(4, "big") + message)
        body.flush()
        for number in range(rounds):
            for label, arguments in LOADS:
                for name in servers:
                    print(f"round {number + 1}: {name}, {label}", file=sys.stderr)
                    process = psutil.Process(processes[name].pid)
                    before = process.cpu_times()
                    done = load(addresses[name], body.name, arguments, seconds)
                    after = process.cpu_times()
                    spent = after.user + after.system - before.user - before.system
                    figures.setdefault((label, name), []).append((done / seconds, spent / done * 1e6))
    for name in servers:
        pipes[name].send("stop")
        processes[name].join(10)
    print(f"{'load':<20}{'server':<12}{'req/s':>10}{'CPU us/req':>12}")
    for (label, name), runs in figures.items():
        rate, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{label:<20}{name:<12}{rate:>10.0f}{cpu:>12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="duration of one load")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=128, help="size of the message")
    parser.add_argument("--only", choices=("http2", "grpc.aio"), help="measure one server")
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing: apt-get install nghttp2-client")
    multiprocessing.set_start_method("spawn")  # a forked grpc would be unusable
    servers = {"http2": serve_http2, "grpc.aio": serve_grpc_aio}
    if options.only:
        servers = {options.only: servers[options.only]}
    measure(servers, options.seconds, options.rounds, options.bytes)


if __name__ == "__main__":
    main()
