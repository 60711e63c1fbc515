"""KServe's Python model server with a custom model. It listens on every interface, as it has no setting for that."""

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    ports = f"{scene.http_port},{scene.grpc_port}"
    return Launch(
        [str(scene.environment.python), str(SERVED / "kserve_server.py"), ports],
        ready=f"/v2/models/{scene.model}/ready",
    )


PEER = Peer(
    name="kserve",
    title="KServe Python server",
    requirements=("kserve==0.21.0", *NUMERICS),
    speaks=("grpc", "binary", "json"),
    launch=launch,
    settings="custom model, one process, latency log off",
)
