"""Ray Serve on a Ray cluster of its own on this machine."""

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    script = str(SERVED / "ray_app.py")
    return Launch(
        [str(scene.environment.python), script, str(scene.http_port), str(scene.folder / "ray")],
        ready="/-/healthz",
        variables={"RAY_USAGE_STATS_ENABLED": "0"},
    )


PEER = Peer(
    name="ray",
    title="Ray Serve",
    requirements=("ray[serve]==2.60.0", *NUMERICS),
    speaks=("instances",),
    launch=launch,
    settings="one replica, batches of 32 within 1 ms, access log off",
)
