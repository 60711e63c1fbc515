"""BentoML with one worker and adaptive batching."""

from loadtests.peers.peer import NUMERICS, SERVED, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    serve = [
        str(scene.environment.python),
        "-m",
        "bentoml",
        "serve",
        "bento_service:Trees",
        "--working-dir",
        str(SERVED),
    ]
    return Launch(
        [*serve, "--host", "127.0.0.1", "--port", str(scene.http_port)],
        ready="/readyz",
        variables={"BENTOML_HOME": str(scene.folder / "home"), "BENTOML_DO_NOT_TRACK": "True"},
    )


PEER = Peer(
    name="bentoml",
    title="BentoML",
    requirements=("bentoml==1.4.39", *NUMERICS),
    speaks=("instances",),
    launch=launch,
    settings="one worker, adaptive batching",
)
