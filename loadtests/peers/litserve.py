"""LitServe with one worker and batching."""

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    script = str(SERVED / "litserve_app.py")
    return Launch([str(scene.environment.python), script, str(scene.http_port)], ready="/health")


PEER = Peer(
    name="litserve",
    title="LitServe",
    requirements=("litserve==0.2.19", *NUMERICS),
    speaks=("instances",),
    launch=launch,
    settings="one worker, one API server, batches of 32 within 1 ms",
)
