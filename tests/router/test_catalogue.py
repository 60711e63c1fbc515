"""What can be called, and what a caller learns when it cannot."""

import pytest

from protos import link_pb2
from serving.errors import ModelNotFound, Unavailable
from serving.spec import State
from tests.router.cluster import Cluster, Worker, model

READY, LOADING, FAILED = link_pb2.STATE_READY, link_pb2.STATE_LOADING, link_pb2.STATE_FAILED


def entry(version: str, state: link_pb2.State, reason: str = "", **labels: str) -> link_pb2.IndexEntry:
    return link_pb2.IndexEntry(name="m", version=version, state=state, reason=reason, framework="echo", labels=labels)


def test_newest_ready_answers_and_changes_with_the_workers() -> None:
    """A new version takes over when it is ready, not before; when it leaves, the old one answers again."""
    cluster = Cluster()
    worker, fresh = Worker(cluster, "w1"), Worker(cluster, "w2")
    worker.serve(model(version="9"))
    cluster.agent(entry("9", READY), entry("10", LOADING))
    assert cluster.core.catalogue.pool("m").spec.version == "9"
    fresh.serve(model(version="10"))
    assert cluster.core.catalogue.pool("m").spec.version == "10"
    assert cluster.core.catalogue.versions("m") == ["9", "10"]
    fresh.say(models=link_pb2.Models())
    assert cluster.core.catalogue.pool("m").spec.version == "9"


def test_label_stable_of_model_yaml_decides() -> None:
    """Agents' labels (model.yaml as it is now) win over those a worker loaded with."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(version="1", labels={"stable": "1"}), model(version="2", handle=2, labels={"stable": "1"}))
    assert cluster.core.catalogue.pool("m").spec.version == "1"
    assert cluster.core.catalogue.pool("m", "stable").spec.version == "1"
    agent = cluster.agent(entry("1", READY, stable="2"), entry("2", READY, stable="2"))
    assert cluster.core.catalogue.pool("m").spec.version == "2"
    cluster.index(agent, entry("1", READY), entry("2", READY))
    assert cluster.core.catalogue.pool("m").spec.version == "2"
    with pytest.raises(ModelNotFound, match="no version or label 'stable'"):
        cluster.core.catalogue.pool("m", "stable")


def test_a_router_that_has_just_started_calls_nothing_unknown() -> None:
    """Its workers may still dial: callers are to come back or go elsewhere, until an agent says what there is."""
    cluster = Cluster()
    catalogue = cluster.core.catalogue
    catalogue.complete = False
    for name, version in (("m", ""), ("m", "2")):
        with pytest.raises(Unavailable, match="this router has just started"):
            catalogue.pool(name, version)
    assert not catalogue.is_ready("m")
    Worker(cluster, "w1").serve(model(version="1"))
    assert catalogue.pool("m").spec.version == "1"
    with pytest.raises(Unavailable, match="this router has just started"):
        catalogue.pool("m", "2")
    cluster.agent(entry("1", READY))
    with pytest.raises(ModelNotFound):
        catalogue.pool("m", "2")


def test_unknown_names_get_the_known_ones() -> None:
    """The error helps to find the right name."""
    cluster = Cluster()
    with pytest.raises(ModelNotFound, match="no model is loaded"):
        cluster.core.catalogue.pool("x")
    Worker(cluster, "w1").serve(model("iris"))
    with pytest.raises(ModelNotFound, match="unknown model 'x'; known models: iris"):
        cluster.core.catalogue.pool("x")
    with pytest.raises(ModelNotFound, match="ready versions: 1"):
        cluster.core.catalogue.pool("iris", "7")


def test_label_of_a_missing_version_is_named() -> None:
    """An operator's mistake is shown as what it is, not hidden by another version."""
    cluster = Cluster()
    Worker(cluster, "w1").serve(model(version="4"))
    cluster.agent(entry("4", READY, stable="99"))
    with pytest.raises(ModelNotFound, match="label 'stable' of model 'm' names version '99', which is not there"):
        cluster.core.catalogue.pool("m")
    assert cluster.core.catalogue.pool("m", "4").ready


def test_loading_model_is_known_but_not_described() -> None:
    """Its requests wait, its metadata cannot be known yet."""
    cluster = Cluster()
    cluster.agent(entry("1", LOADING))
    assert not cluster.core.catalogue.pool("m").ready
    assert not cluster.core.catalogue.is_ready("m")
    with pytest.raises(Unavailable, match="still loading"):
        cluster.core.catalogue.described("m")


def test_index_merges_workers_and_agents() -> None:
    """What serves is READY whatever an agent last said; what an agent alone knows keeps its reason."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(version="2"))
    cluster.agent(entry("1", FAILED, "digest differs"), entry("2", LOADING), entry("3", LOADING))
    rows = [(one.version, one.state, one.reason) for one in cluster.core.catalogue.index()]
    assert rows == [("1", State.FAILED, "digest differs"), ("2", State.READY, ""), ("3", State.LOADING, "")]
    assert [one.version for one in cluster.core.catalogue.index(ready_only=True)] == ["2"]
    assert not cluster.core.ready
    cluster.core.listeners["grpc"] = "127.0.0.1:1"
    assert not cluster.core.ready, "version 3 is still on its way"


def test_what_serves_but_could_not_be_loaded_again_says_so() -> None:
    """Files that broke under a running version are reported before the restart that would need them."""
    cluster = Cluster()
    Worker(cluster, "w1").serve(model(version="1"))
    agent = cluster.agent(entry("1", READY, "its files have changed"))
    (row,) = cluster.core.catalogue.index()
    assert (row.state, row.reason) == (State.READY, "its files have changed")
    cluster.index(agent, entry("1", LOADING, "another replica"))
    (row,) = cluster.core.catalogue.index()
    assert (row.state, row.reason) == (State.READY, "")


def test_without_an_agent_the_last_word_stands() -> None:
    """Routers keep serving on what they know while control is away."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model())
    agent = cluster.agent(entry("1", READY))
    cluster.core.peers.left(agent)
    worker.die()
    assert cluster.core.catalogue.pool("m").replicas == 0
    states = [(one.state, one.reason) for one in cluster.core.catalogue.index()]
    assert states == [(State.UNAVAILABLE, "no replica is connected")]


def test_series_of_a_gone_version_go_too() -> None:
    """Version churn must not grow the metrics page for ever."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model())
    agent = cluster.agent(entry("1", READY))
    cluster.call()
    assert cluster.core.metrics.replicas.children.keys() == {("m", "1")}
    worker.die()
    cluster.index(agent)
    families = cluster.core.metrics
    assert [
        family.children for family in (families.replicas, families.pending, families.requests, families.request_seconds)
    ] == [{}, {}, {}, {}]
