"""FastAPI written by hand on uvicorn with uvloop and httptools: the floor of what people build themselves."""

from loadtests.peers.peer import NUMERICS, Launch, Peer, Scene


def launch(scene: Scene) -> Launch:
    uvicorn = [str(scene.environment.python), "-m", "uvicorn", "fastapi_app:app", "--host", "127.0.0.1"]
    return Launch([*uvicorn, "--port", str(scene.http_port), "--no-access-log"], ready="/ready")


PEER = Peer(
    name="fastapi",
    title="FastAPI by hand",
    requirements=(
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
        "uvloop==0.23.0",
        "httptools==0.9.0",
        "orjson==3.13.0",
        *NUMERICS,
    ),
    speaks=("instances",),
    launch=launch,
    settings="uvicorn, uvloop, httptools, orjson, one process, no batching",
)
