"""grpc.aio and ONNX Runtime by hand: what a gRPC server in Python costs when it does nothing else."""

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    return Launch([str(scene.environment.python), str(SERVED / "grpc_aio_server.py"), str(scene.grpc_port)])


PEER = Peer(
    name="grpc_aio",
    title="grpc.aio by hand",
    requirements=("grpcio==1.85.1", "protobuf>=6.31,<8", *NUMERICS),
    speaks=("grpc",),
    launch=launch,
    settings="one process, no batching, no metrics",
)
