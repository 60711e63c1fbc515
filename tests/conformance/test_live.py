"""Every RPC and every REST route against live clusters, one for each front: real processes, real trained models,
clients that Dodona did not write."""

from collections.abc import Iterator

import pytest

from dodona.cluster import SyncCluster, running
from dodona.config import ClusterSettings
from examples.train import main as train
from router.settings import RouterSettings
from tests.conformance import grpc_surface, rest_surface, shared_memory

MODELS = ("breast-cancer", "digits", "wine")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example models, trained and packed: XGBoost, ONNX, Python."""
    folder = tmp_path_factory.mktemp("live")
    assert train(["--repository", str(folder / "models"), "--work", str(folder / "work")]) == 0
    return str(folder / "models")


@pytest.fixture(scope="module", params=["http2", "grpcio"])
def cluster(
    request: pytest.FixtureRequest, repository: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyncCluster]:
    folder = tmp_path_factory.mktemp(request.param)
    settings = ClusterSettings(
        repository=repository,
        run_folder=str(folder / "run"),
        log_file=str(folder / "log"),
        router=RouterSettings(grpc_port=0, http_port=0, metrics_port=0, front=request.param),
    )
    with running(settings) as cluster:
        assert {str(status.state) for status in cluster.ready(60)} == {"READY"}
        yield cluster


@pytest.mark.parametrize(
    "check", [*grpc_surface.SURFACE, *grpc_surface.REPOSITORY], ids=lambda check: str(check.__name__)
)
def test_grpc(cluster: SyncCluster, check: grpc_surface.Check) -> None:
    """One part of the gRPC surface; each check says in its own docstring what it shows."""
    check(cluster.grpc_address, MODELS)


@pytest.mark.parametrize(
    "check", [*rest_surface.SURFACE, *rest_surface.REPOSITORY], ids=lambda check: str(check.__name__)
)
def test_rest(cluster: SyncCluster, check: rest_surface.Check) -> None:
    """One part of the REST surface; each check says in its own docstring what it shows."""
    check(f"http://{cluster.http_address}", MODELS)


@pytest.mark.parametrize("check", shared_memory.SHARED_MEMORY, ids=lambda check: str(check.__name__))
def test_shared_memory(cluster: SyncCluster, check: shared_memory.Check) -> None:
    """One part of the shared memory extension; each check says in its own docstring what it shows."""
    check(cluster.grpc_address, cluster.http_address, "digits")
