"""Identical requests: answered from what was kept, or by one run for all who wait for it."""

import pytest

from protos import inference_pb2, link_pb2
from router.settings import Limits
from router.sharing.flights import COLLAPSED, HIT
from serving.errors import InvalidRequest, Shed
from serving.status import Status
from tests.router.cluster import Caller, Cluster, Worker, model, request


def sharing_model(content: str = "c1", *, keep: bool = True, ttl_s: float = 0.0, **fields: object) -> link_pb2.Model:
    cache = link_pb2.ResponseCache(enabled=keep, ttl_s=ttl_s)
    return model(response_cache=cache, collapse=True, content=content, **fields)


def serving(window: int = 4, **fields: object) -> tuple[Cluster, Worker]:
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(sharing_model(**fields), window=window)  # type: ignore[arg-type]
    return cluster, worker


def asking(value: int = 0, rows: int = 1, **fields: object) -> bytes:
    """A request whose tensor holds `value`."""
    message = inference_pb2.ModelInferRequest.FromString(request(rows=rows, **fields))
    message.raw_input_contents[0] = bytes([value]) * 8 * rows
    return message.SerializeToString()


def with_parameter(message: bytes, name: str, **value: object) -> bytes:
    parsed = inference_pb2.ModelInferRequest.FromString(message)
    parsed.parameters[name].CopyFrom(inference_pb2.InferParameter(**value))  # type: ignore[arg-type]
    return parsed.SerializeToString()


def origin(caller: Caller) -> str:
    """Where its answer came from, in the words of Cache-Status."""
    assert caller.inference
    return caller.inference.share.status if caller.inference.share else "alone"


def answer(text: str, identity: str = "") -> bytes:
    return inference_pb2.ModelInferResponse(
        model_name="m", id=identity, raw_output_contents=[text.encode()]
    ).SerializeToString()


def read(caller: Caller) -> tuple[str, str]:
    """Id and content of its answer."""
    assert caller.reply is not None
    parsed = inference_pb2.ModelInferResponse.FromString(caller.reply)
    return parsed.id, parsed.raw_output_contents[0].decode()


def test_answered_request_answers_the_next_of_its_kind() -> None:
    """The second costs no run, no window and no queue, even while all replicas are busy."""
    cluster, worker = serving(window=1)
    first = cluster.call(asking(1))
    worker.answer(1, text=b"one")
    busy = cluster.call(asking(2))
    again = cluster.call(asking(1))
    assert (first.reply, again.reply) == (b"one", b"one")
    assert (origin(first), origin(again)) == ("", HIT)
    assert list(worker.work) == [2]
    assert repr(busy) == "waits"
    assert cluster.core.dispatcher.in_flight == 1


def test_identical_requests_at_the_same_time_run_once() -> None:
    """All who asked while it ran get that one answer."""
    cluster, worker = serving()
    callers = [cluster.call(asking(1)) for _ in range(3)]
    other = cluster.call(asking(2))
    assert len(worker.work) == 2
    assert cluster.core.dispatcher.in_flight == 4
    worker.answer(1, text=b"one")
    assert [caller.reply for caller in callers] == [b"one"] * 3
    assert [origin(caller) for caller in callers] == ["", COLLAPSED, COLLAPSED]
    assert repr(other) == "waits"
    assert cluster.core.dispatcher.in_flight == 1


def test_off_unless_the_model_asks_for_it() -> None:
    """Without a word in model.yaml every request runs."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(content="c1"))
    callers = [cluster.call(asking(1)), cluster.call(asking(1))]
    assert len(worker.work) == 2
    assert [origin(caller) for caller in callers] == ["alone", "alone"]


def test_collapsing_alone_keeps_nothing() -> None:
    """`collapse: true` shares runs, not answers."""
    cluster, worker = serving(keep=False)
    callers = [cluster.call(asking(1)) for _ in range(2)]
    worker.answer(1)
    cluster.call(asking(1))
    assert [caller.reply for caller in callers] == [b"ok", b"ok"]
    assert len(worker.work) == 1


def test_each_gets_its_own_id() -> None:
    """Leader, follower, hit, with ids and without: the worker never sees one, each caller sees its own."""
    cluster, worker = serving()
    leader, follower, nameless = (
        cluster.call(asking(1, id="a")),
        cluster.call(asking(1, id="b")),
        cluster.call(asking(1)),
    )
    assert list(worker.work.values()) == [asking(1)]
    worker.answer(1, text=answer("one"))
    hit, plain = cluster.call(asking(1, id="c")), cluster.call(asking(1))
    assert [read(caller)[0] for caller in (leader, follower, nameless, hit, plain)] == ["a", "b", "", "c", ""]
    assert {read(caller)[1] for caller in (leader, follower, nameless, hit, plain)} == {"one"}


def test_what_does_not_change_the_answer_does_not_part_requests() -> None:
    """Version by number, by label or by default, timeout, priority, tenant: the same request."""
    cluster, worker = serving(labels={"stable": "1"})
    cluster.call(asking(1))
    worker.answer(1)
    same = [
        asking(1, version="1"),
        asking(1, version="stable"),
        with_parameter(asking(1), "timeout", int64_param=1_000_000),
        with_parameter(asking(1, id="x"), "priority", int64_param=1),
        with_parameter(asking(1), "tenant", string_param="t"),
        with_parameter(asking(1), "cache", bool_param=True),
    ]
    assert [origin(cluster.call(message)) for message in same] == [HIT] * len(same)
    assert not worker.work


def test_what_may_change_the_answer_parts_requests() -> None:
    """Values, shape, outputs asked for, parameters that a worker may read, fields we do not know."""
    cluster, worker = serving(window=100)
    two = inference_pb2.ModelInferRequest.FromString(asking(1))
    two.outputs.add(name="y")
    classes = inference_pb2.ModelInferRequest.FromString(asking(1))
    classes.outputs.add(name="y").parameters["classification"].int64_param = 2
    dtype = inference_pb2.ModelInferRequest.FromString(asking(1))
    dtype.inputs[0].datatype = "INT32"
    marked = inference_pb2.ModelInferRequest.FromString(asking(1))
    marked.inputs[0].parameters["p"].bool_param = True
    unlike = [
        asking(1),
        asking(2),
        asking(1, rows=2),
        two.SerializeToString(),
        classes.SerializeToString(),
        dtype.SerializeToString(),
        marked.SerializeToString(),
        with_parameter(asking(1), "explain_runtime", bool_param=True),
        with_parameter(asking(1), "explain_runtime", bool_param=False),
        with_parameter(asking(1), "explain_runtime", string_param="true"),
        asking(1) + b"\x9a\x06\x01x",  # field 99, bytes
        asking(1) + b"\x98\x06\x01",  # field 99, a number
        asking(1) + b"\x9d\x06\x01\x00\x00\x00",  # field 99, four bytes
    ]
    for message in unlike:
        cluster.call(message)
    assert len(worker.work) == len(unlike)
    for number in list(worker.work):
        worker.answer(number, text=b"%d" % number)
    patient = [with_parameter(message, "timeout", int64_param=10**6) for message in unlike]
    assert [cluster.call(message).reply for message in patient] == [b"%d" % (place + 1) for place in range(len(unlike))]
    assert not worker.work


def test_sequences_and_shared_memory_are_left_alone() -> None:
    """Their answer is not a function of the message."""
    cluster, worker = serving(window=100)
    regional = inference_pb2.ModelInferRequest.FromString(asking(1))
    regional.inputs[0].parameters["shared_memory_region"].string_param = "r"
    del regional.raw_input_contents[:]
    alone = [
        with_parameter(asking(1, id="i"), "sequence_id", int64_param=7),
        with_parameter(asking(1), "sequence_start", bool_param=True),
        with_parameter(regional.SerializeToString(), "timeout", int64_param=10**6),
        regional.SerializeToString(),
    ]
    for message in (*alone, *alone):
        assert origin(cluster.call(message)) == "alone"
    assert list(worker.work.values()) == [*alone, *alone]


def test_what_was_learnt_of_usual_requests_misleads_nobody() -> None:
    """A request as long as the usual one, but with its tensor in shared memory, is seen through."""
    cluster, worker = serving(window=100)
    usual, regional = (inference_pb2.ModelInferRequest.FromString(asking(1)) for _ in range(2))
    regional.inputs[0].parameters["shared_memory_region"].string_param = "r"
    usual.inputs[0].parameters["some_name_just_as_lo"].string_param = "r"
    messages = [message.SerializeToString() for message in (usual, regional)]
    assert len(messages[0]) == len(messages[1])
    assert [origin(cluster.call(message)) for message in (*messages, *messages)] == ["", "alone", "", "alone"]
    assert len(worker.work) == 3


def test_caller_may_decline() -> None:
    """`cache: false` runs by itself and leaves nothing behind; anything but a boolean is an error."""
    cluster, worker = serving()
    declined = with_parameter(asking(1), "cache", bool_param=False)
    cluster.call(declined)
    cluster.call(asking(1))
    worker.answer(1, 2)
    cluster.call(declined)
    assert len(worker.work) == 1
    with pytest.raises(InvalidRequest, match=r"parameters\.cache: must be true or false; send bool_param"):
        cluster.call(with_parameter(asking(1), "cache", string_param="no"))


def test_an_answer_has_its_time() -> None:
    """After `ttl_s` the request runs again."""
    cluster, worker = serving(ttl_s=10.0)
    cluster.call(asking(1))
    worker.answer(1, text=b"old")
    cluster.advance(9)
    assert cluster.call(asking(1)).reply == b"old"
    cluster.advance(2)
    late = cluster.call(asking(1))
    worker.answer(3, text=b"new")
    assert late.reply == b"new"


def test_leader_that_leaves_takes_nobody_along() -> None:
    """Cancelled at the worker, in the same turn of the loop or later: the run goes on for the others."""
    for turn in (True, False):
        cluster, worker = serving()
        leader = cluster.call(asking(1, id="a"), turn=turn)
        followers = [cluster.call(asking(1, id=name), turn=turn) for name in "bc"]
        assert leader.inference
        cluster.core.dispatcher.cancel(leader.inference)
        cluster.turn()
        assert worker.cancelled == []
        late = cluster.call(asking(1, id="d"))
        worker.answer(1, text=answer("one"))
        assert [read(caller) for caller in (*followers, late)] == [(name, "one") for name in "bcd"]
        assert repr(leader) == "waits"
        assert cluster.core.dispatcher.in_flight == 0


def test_leader_that_leaves_the_queue_leaves_its_place() -> None:
    """The follower waits where the leader did, and is as urgent."""
    cluster, worker = serving(window=1)
    cluster.call(asking(9))
    leader = cluster.call(with_parameter(asking(1), "priority", int64_param=1))
    follower = cluster.call(asking(1))
    other = cluster.call(with_parameter(asking(2), "priority", int64_param=2))
    assert leader.inference
    cluster.core.dispatcher.cancel(leader.inference)
    worker.answer(1)
    assert list(worker.work.values()) == [asking(1)]
    worker.answer(*worker.work)
    assert (follower.reply, repr(other)) == (b"ok", "waits")


def test_last_of_all_ends_the_run() -> None:
    """When nobody waits any more, the worker is told, and the next request begins anew."""
    cluster, worker = serving()
    callers = [cluster.call(asking(1)) for _ in range(3)]
    for caller in callers:
        assert caller.inference
        cluster.core.dispatcher.cancel(caller.inference)
        cluster.core.dispatcher.cancel(caller.inference)
    cluster.turn()
    assert worker.cancelled == [1]
    assert cluster.core.dispatcher.in_flight == 0
    anew = cluster.call(asking(1))
    assert repr(anew) == "waits"
    assert len(worker.work) == 2


def test_each_has_its_own_deadline() -> None:
    """A follower's passes while the leader goes on; a leader's passes while followers wait on."""
    cluster, worker = serving()
    hurried = cluster.call(asking(1), timeout_s=2)
    follower = cluster.call(asking(1), timeout_s=1)
    patient = cluster.call(asking(1), timeout_s=9)
    cluster.advance(1.01)
    assert [repr(caller) for caller in (hurried, follower, patient)] == ["waits", "DEADLINE_EXCEEDED", "waits"]
    cluster.advance(1)
    assert [repr(caller) for caller in (hurried, patient)] == ["DEADLINE_EXCEEDED", "waits"]
    assert worker.cancelled == []
    worker.answer(1, text=b"one")
    assert patient.reply == b"one"
    assert cluster.core.dispatcher.in_flight == 0


@pytest.mark.parametrize("first", ["router", "worker"])
def test_worker_that_gave_up_for_the_leader_runs_it_again_for_the_others(first: str) -> None:
    """Its deadline was the leader's, whether router or worker notices first; it counts as no retry."""
    cluster, worker = serving()
    leader, patient = cluster.call(asking(1), timeout_s=1), cluster.call(asking(1), timeout_s=9)
    if first == "router":
        cluster.advance(1.01)
    worker.refuse(1, Status.DEADLINE_EXCEEDED)
    assert [repr(leader), repr(patient)] == ["DEADLINE_EXCEEDED", "waits"]
    (number,) = worker.work
    worker.refuse(number, Status.UNAVAILABLE)
    (number,) = worker.work
    worker.answer(number, text=b"one")
    assert patient.reply == b"one"
    assert cluster.core.dispatcher.in_flight == 0


def test_deadline_of_one_who_is_alone_is_final() -> None:
    """Without followers a worker's word for it is passed on, as ever."""
    cluster, worker = serving()
    caller = cluster.call(asking(1), timeout_s=1)
    worker.refuse(1, Status.DEADLINE_EXCEEDED)
    assert repr(caller) == "DEADLINE_EXCEEDED"
    assert not worker.work


def test_a_fault_of_the_request_is_everybodys() -> None:
    """What the model says to one it would say to all; it is not kept."""
    cluster, worker = serving()
    callers = [cluster.call(asking(1)) for _ in range(3)]
    worker.refuse(1, Status.INVALID_ARGUMENT, "bad value")
    assert [str(caller.error) for caller in callers] == ["bad value"] * 3
    assert len({id(caller.error) for caller in callers}) == 3
    cluster.call(asking(1))
    assert len(worker.work) == 1


def test_request_that_kills_workers_kills_two_for_all_who_ask() -> None:
    """Retries are counted by run, so followers add none."""
    cluster = Cluster()
    workers = [Worker(cluster, f"w{number}") for number in range(4)]
    for worker in workers:
        worker.serve(sharing_model())
    callers = [cluster.call(asking(1)) for _ in range(5)]
    deaths = 0
    while busy := [worker for worker in workers if worker.work]:
        workers.remove(busy[0])
        busy[0].die()
        deaths += 1
    assert deaths == 2
    assert [repr(caller) for caller in callers] == ["UNAVAILABLE"] * 5


def test_refused_leader_leaves_no_trace() -> None:
    """A request that is shed at once is nobody's leader."""
    cluster = Cluster(Limits(max_pending=1))
    worker = Worker(cluster, "w1")
    worker.serve(sharing_model(), window=1)
    cluster.call(asking(1))
    waits = cluster.call(asking(2))
    with pytest.raises(Shed):
        cluster.call(asking(3))
    followers = [cluster.call(asking(2)) for _ in range(10)]
    worker.answer(1)
    worker.answer(2)
    again = cluster.call(asking(3))
    assert {caller.reply for caller in (waits, *followers)} == {b"ok"}
    assert len(worker.work) == 1
    worker.answer(*worker.work)
    assert again.reply == b"ok"


def test_followers_count_among_those_in_flight() -> None:
    """They cost no row, but memory: router.limits.max_in_flight bounds them."""
    cluster = Cluster(Limits(max_in_flight=2))
    worker = Worker(cluster, "w1")
    worker.serve(sharing_model())
    cluster.call(asking(1))
    cluster.call(asking(1))
    with pytest.raises(Shed, match="max_in_flight = 2"):
        cluster.call(asking(1))
    worker.answer(1)
    assert cluster.call(asking(1)).reply == b"ok"


def test_tenants_share_answers_and_not_places() -> None:
    """Whoever follows waits in the leader's place, so a follower is of the leader's tenant; what is kept is for all."""
    cluster, worker = serving()
    cluster.call(asking(1), tenant="a")
    cluster.call(asking(1), tenant="b")
    cluster.call(asking(1), tenant="b")
    assert len(worker.work) == 2
    worker.answer(1)
    assert origin(cluster.call(asking(1), tenant="c")) == HIT


def test_leader_becomes_as_urgent_as_who_follows() -> None:
    """A patient request that waits first must not hold up an urgent one that joins it."""
    cluster, worker = serving(window=1)
    cluster.call(asking(9))
    cluster.call(asking(1), timeout_s=20)
    cluster.call(asking(2), timeout_s=10)
    cluster.call(asking(1), timeout_s=5)
    worker.answer(1)
    assert list(worker.work.values()) == [asking(1)]


def test_other_content_under_the_same_number_shares_nothing_with_it() -> None:
    """Kept answers and runs under way are those of the old content; while both serve, nothing is shared at all."""
    cluster, old = serving(window=100)
    cluster.call(asking(1))
    old.answer(1, text=b"old")
    under_way = cluster.call(asking(2))
    new = Worker(cluster, "w2")
    new.serve(sharing_model("c2"), window=100)
    mixed = [cluster.call(asking(1)), cluster.call(asking(1)), cluster.call(asking(2))]
    assert [origin(caller) for caller in mixed] == ["alone"] * 3
    old.say(draining=link_pb2.Draining())
    for worker, text in ((old, b"old"), (new, b"new")):
        worker.answer(*worker.work, text=text)
    assert under_way.reply == b"old"
    after = [cluster.call(asking(1)), cluster.call(asking(2))]
    assert [repr(caller) for caller in after] == ["waits", "waits"]
    new.answer(*new.work, text=b"new")
    assert [caller.reply for caller in (*after, cluster.call(asking(2)))] == [b"new"] * 3


def test_nothing_survives_an_unload() -> None:
    """Not even where the same content comes back, and its bytes are free at once."""
    cluster, worker = serving()
    cluster.call(asking(1))
    worker.answer(1)
    figures = cluster.core.catalogue.pool("m").sharing_figures
    assert figures.entries == 1
    worker.say(models=link_pb2.Models())
    assert figures.entries == figures.bytes == 0
    worker.serve(sharing_model(handle=2))
    again = cluster.call(asking(1))
    assert repr(again) == "waits"


def test_two_replicas_of_one_content_share() -> None:
    """Whichever ran it, the answer is the same."""
    cluster, one = serving()
    two = Worker(cluster, "w2")
    two.serve(sharing_model())
    cluster.call(asking(1))
    (busy,) = [worker for worker in (one, two) if worker.work]
    busy.answer(1)
    assert cluster.call(asking(1)).reply == b"ok"


def test_run_that_moves_to_another_version_parts_company() -> None:
    """When its version goes while it waits, each goes where the version that it named leads."""
    cluster, worker = serving(window=1)
    other = Worker(cluster, "w2")
    agent = cluster.agent(*[link_pb2.IndexEntry(name="m", version=v, state=link_pb2.STATE_READY) for v in "12"])
    cluster.call(asking(9, version="1"))
    leader, exact = cluster.call(asking(1, id="a")), cluster.call(asking(1, id="b", version="1"))
    other.serve(sharing_model(version="2", content="c2"), window=4)
    cluster.index(agent, link_pb2.IndexEntry(name="m", version="2", state=link_pb2.STATE_READY))
    worker.say(models=link_pb2.Models())
    assert repr(exact) == "UNAVAILABLE"
    other.answer(*other.work, text=answer("two"))
    assert read(leader) == ("a", "two")
    assert origin(cluster.call(asking(1))) == ""


def test_figures_add_up() -> None:
    """Hits, misses and collapsed requests, as metrics and in the protocol's statistics."""
    cluster, worker = serving()
    for _ in range(3):
        cluster.call(asking(1))
    worker.answer(1)
    for _ in range(4):
        cluster.call(asking(1))
    pool = cluster.core.catalogue.pool("m")
    figures = pool.sharing_figures
    assert (figures.misses, figures.collapsed, figures.hits, figures.entries) == (1, 2, 4, 1)
    stats = pool.statistics.model_statistics(pool.spec).inference_stats
    assert (stats.success.count, stats.compute_infer.count) == (7, 1)
    assert (stats.cache_hit.count, stats.cache_miss.count) == (4, 1)
    exported = {
        sample.name: sample.value
        for metric in cluster.core.metrics.metrics.collect()
        for sample in metric.samples
        if sample.labels == {"model": "m", "version": "1"} and "bucket" not in sample.name
    }
    for name, value in (
        ("dodona_cache_hits_total", 4),
        ("dodona_cache_misses_total", 1),
        ("dodona_collapsed_total", 2),
        ("dodona_cache_entries", 1),
        ("nv_cache_num_hits_per_model", 4),
        ("nv_cache_num_misses_per_model", 1),
    ):
        assert exported[name] == value
    assert exported["dodona_cache_bytes"] > 0
    worker.die()
    cluster.agent()
    assert not [name for family in cluster.core.metrics.metrics.collect() for name in family.samples if "cache" in name]
