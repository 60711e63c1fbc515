"""Seldon's MLServer with a custom runtime in its own process (`parallel_workers: 0`): the fastest of its set-ups for a
model this small, as every other one pickles the request to another process."""

import json
import re

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene

_SUCCESS = re.compile(r"^model_infer_request_success_total\{.*\} ([\d.e+]+)", re.MULTILINE)


def launch(scene: Scene) -> Launch:
    settings = {
        "host": "127.0.0.1",
        "http_port": scene.http_port,
        "grpc_port": scene.grpc_port,
        "metrics_port": scene.metrics_port,
        "parallel_workers": 0,
        "debug": False,
        "metrics_dir": str(scene.folder / "metrics"),
        "environments_dir": str(scene.folder / "environments"),
    }
    (scene.folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": scene.model, "implementation": "mlserver_runtime.Trees", "parameters": {"version": "1"}}
    (scene.folder / "model-settings.json").write_text(json.dumps(model))
    (scene.folder / "mlserver_runtime.py").write_bytes((SERVED / "mlserver_runtime.py").read_bytes())
    program = scene.environment.program("mlserver")
    return Launch([str(program), "start", str(scene.folder)], ready=f"/v2/models/{scene.model}/ready")


def successes(metrics: str) -> int:
    return int(sum(map(float, _SUCCESS.findall(metrics))))


PEER = Peer(
    name="mlserver",
    title="MLServer",
    requirements=("mlserver==1.7.1", *NUMERICS),
    speaks=("grpc", "json"),
    launch=launch,
    settings="custom runtime, parallel_workers 0, no adaptive batching",
    counter=successes,
)
