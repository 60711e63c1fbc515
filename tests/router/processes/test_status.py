"""The status of several processes as that of one."""

from protos import admin_pb2
from router.processes.status import as_one


def seen_by(number: int, pending: int, *workers: str) -> admin_pb2.StatusResponse:
    """What process `number` says."""
    status = admin_pb2.StatusResponse(router="router", uptime_s=10 + number, pending=pending, in_flight=1)
    status.listeners.add(protocol="grpc", address="127.0.0.1:8001")
    status.listeners.add(protocol="link", address=f"unix:link.{number}")
    for worker in workers:
        status.workers.add(name=worker, role="worker", in_flight=number + 1)
    status.models.add(name="m", version="1", replicas=len(workers), pending=pending, succeeded=number)
    return status


def test_they_look_like_one_router():
    """Work in hand adds up; a worker, a version or a port that all see is there once."""
    whole = as_one(seen_by(0, 2, "a"), [seen_by(1, 3, "a", "b")])
    assert (whole.router, whole.uptime_s, whole.pending, whole.in_flight) == ("router", 11, 5, 2)
    assert [(worker.name, worker.in_flight) for worker in whole.workers] == [("a", 3), ("b", 2)]
    assert [(model.name, model.replicas, model.pending, model.succeeded) for model in whole.models] == [("m", 2, 5, 1)]
    assert [listener.address for listener in whole.listeners] == ["127.0.0.1:8001", "unix:link.0", "unix:link.1"]


def test_a_version_that_only_another_knows_is_listed():
    """A process that has only just begun knows less."""
    whole = as_one(admin_pb2.StatusResponse(), [seen_by(1, 0, "a")])
    assert [model.name for model in whole.models] == ["m"]


def test_one_that_drains_makes_the_whole_drain():
    """It takes no new calls on its connections."""
    assert as_one(seen_by(0, 0), [admin_pb2.StatusResponse(draining=True)]).draining
