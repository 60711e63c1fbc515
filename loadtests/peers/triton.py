"""NVIDIA Triton: the `tritonserver` binary inside the wheel of nvidia-pytriton, started directly.

The wheel has the server, its gRPC and HTTP fronts in C++, and the Python backend; the ONNX backend is not in it and is
published as a container only, so the model runs in ONNX Runtime inside the Python backend, behind Triton's dynamic
batcher. Three things that pytriton does otherwise are done here by hand: the backend's stub for this interpreter is
put beside the backend, the linker is shown the wheel's libraries and libpython, and the stub is told which Python it
is (it embeds one). No GPU is needed: the CUDA runtime comes in the wheel and only warns that there is no driver.
"""

import re
import shutil
import sys
import sysconfig
from pathlib import Path

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene

_SUCCESS = re.compile(r"^nv_inference_request_success\{.*\} (\d+)", re.MULTILINE)
CONFIG = """name: "{model}"
backend: "python"
max_batch_size: 128
input [{{ name: "input" data_type: TYPE_FP32 dims: {dims} }}]
output [{{ name: "probabilities" data_type: TYPE_FP32 dims: [{outputs}] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
dynamic_batching {{ }}
"""


def launch(scene: Scene) -> Launch:
    config = CONFIG.format(model=scene.model, dims=list(scene.shape), outputs=scene.outputs)
    return launch_model(scene, config, SERVED / "triton_model.py", SERVED / "trees.py")


def launch_model(scene: Scene, config: str, model_file: Path, *beside: Path) -> Launch:
    """Serve one model of the Python backend; `beside`: modules that it imports."""
    wheel = scene.environment.site / "pytriton" / "tritonserver"
    backend = scene.folder / "backends" / "python"
    shutil.copytree(wheel / "backends" / "python", backend)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(wheel / "python_backend_stubs" / version / "triton_python_backend_stub", backend)
    model = scene.folder / "models" / scene.model
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(config)
    shutil.copy(model_file, model / "1" / "model.py")
    for module in beside:
        shutil.copy(module, model / "1")
    libraries = (scene.environment.site / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
    return Launch(
        [
            str(wheel / "bin" / "tritonserver"),
            f"--model-repository={scene.folder / 'models'}",
            f"--backend-directory={scene.folder / 'backends'}",
            f"--grpc-port={scene.grpc_port}",
            f"--http-port={scene.http_port}",
            f"--metrics-port={scene.metrics_port}",
            *(f"--{kind}-address=127.0.0.1" for kind in ("grpc", "http", "metrics")),
        ],
        ready=f"/v2/models/{scene.model}/ready",
        variables={
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PYTHONHOME": sys.base_prefix,
            "PYTHONPATH": f"{SERVED}:{scene.environment.site}",
        },
    )


def successes(metrics: str) -> int:
    return sum(map(int, _SUCCESS.findall(metrics)))


PEER = Peer(
    name="triton",
    title="NVIDIA Triton",
    requirements=("nvidia-pytriton==0.7.0", *NUMERICS),
    speaks=("grpc", "binary", "json"),
    launch=launch,
    settings="tritonserver itself, Python backend, dynamic batching, one instance",
    counter=successes,
    inspected=True,
)
