"""Requests meet replicas: late binding, deadlines, cancels, losses."""

from itertools import product

import pytest

from protos import link_pb2
from router.settings import Limits
from serving.errors import DeadlineExceeded, ModelNotFound, Shed, Unavailable
from serving.spec import State
from serving.status import Status
from tests.router.cluster import Cluster, Worker, model, request


def serving(window: int = 4) -> tuple[Cluster, Worker]:
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(), window=window)
    return cluster, worker


def test_request_goes_out_and_its_answer_comes_back_untouched() -> None:
    """The bytes a caller sent are the bytes the worker gets, and the other way round."""
    cluster, worker = serving()
    caller = cluster.call(request(id="a"))
    assert worker.work == {1: request(id="a")}
    worker.answer(1, text=b"\x00answer")
    assert caller.reply == b"\x00answer"
    assert cluster.core.dispatcher.in_flight == 0


def test_window_is_kept_and_freed_by_results() -> None:
    """Rows above the window wait in the router, and follow as soon as there is room."""
    cluster, worker = serving(window=2)
    callers = [cluster.call() for _ in range(4)]
    assert list(worker.work) == [1, 2]
    assert cluster.core.status().pending == 2
    worker.answer(1)
    assert list(worker.work) == [2, 3]
    worker.answer(2, 3)
    worker.answer(4)
    assert [repr(caller) for caller in callers] == ["reply ok"] * 4
    assert repr(cluster.core.catalogue.pool("m")) == "<m/1 pending=0 seats=[<w1 m/1 0/2>]>"


def test_most_urgent_waits_least() -> None:
    """What waits is bound by priority and deadline, not by arrival."""
    cluster, worker = serving(window=1)
    cluster.call()
    patient = cluster.call(timeout_s=20)
    hurried = cluster.call(timeout_s=2)
    first = cluster.call(_with_priority(1), timeout_s=25)
    order = []
    for _ in range(3):
        worker.answer(next(iter(worker.work)))
        order.append(next(iter(worker.work)))
    assert order == [call.inference.id for call in (first, hurried, patient) if call.inference]


def _with_priority(priority: int) -> bytes:
    from protos import inference_pb2

    message = inference_pb2.ModelInferRequest.FromString(request())
    message.parameters["priority"].int64_param = priority
    return message.SerializeToString()


def test_two_replicas_share_and_neither_idles_while_work_waits() -> None:
    """A slow replica takes less because its window frees later."""
    cluster, fast = serving(window=2)
    slow = Worker(cluster, "w2")
    slow.serve(model(), window=2)
    callers = [cluster.call() for _ in range(10)]
    assert (len(fast.work), len(slow.work)) == (2, 2)
    for _ in range(8):
        fast.answer(next(iter(fast.work)))
    assert len(slow.work) == 2
    assert not fast.work
    slow.answer(*slow.work)
    assert all(caller.reply == b"ok" for caller in callers)


def test_queue_limit_refuses_at_once_and_names_the_setting() -> None:
    """A full queue answers RESOURCE_EXHAUSTED with a delay, and the others are not touched."""
    cluster = Cluster(Limits(max_pending=1))
    worker = Worker(cluster, "w1")
    worker.serve(model(), window=1)
    callers = [cluster.call(), cluster.call()]
    with pytest.raises(Shed, match=r"router\.limits\.max_pending = 1") as refused:
        cluster.call()
    assert refused.value.retry_after_s > 0
    worker.answer(1)
    worker.answer(2)
    assert [caller.reply for caller in callers] == [b"ok", b"ok"]


def test_in_flight_limit_counts_everything_accepted() -> None:
    """Requests at workers count too."""
    cluster = Cluster(Limits(max_in_flight=1))
    worker = Worker(cluster, "w1")
    worker.serve(model())
    cluster.call()
    with pytest.raises(Shed, match=r"router\.limits\.max_in_flight = 1"):
        cluster.call()


def test_deadline_already_passed() -> None:
    """Such a request costs nothing further."""
    cluster, worker = serving()
    with pytest.raises(DeadlineExceeded, match="before the request was read"):
        cluster.call(timeout_s=0)
    assert worker.work == {}


def test_deadline_in_the_queue() -> None:
    """Expired work never reaches the worker."""
    cluster, worker = serving(window=1)
    cluster.call()
    late = cluster.call(timeout_s=1)
    cluster.advance(1.01)
    assert repr(late) == "DEADLINE_EXCEEDED"
    worker.answer(1)
    assert worker.work == {}


def test_deadline_at_the_worker_cancels_there() -> None:
    """The worker is told, its late answer is dropped, its window is freed by it."""
    cluster, worker = serving(window=1)
    late = cluster.call(timeout_s=1)
    cluster.advance(1.01)
    assert repr(late) == "DEADLINE_EXCEEDED"
    assert worker.cancelled == [1]
    following = cluster.call()
    assert list(worker.work) == [1]
    worker.answer(1)
    assert list(worker.work) == [2]
    worker.answer(2, text=b"mine")
    assert following.reply == b"mine"
    assert repr(late) == "DEADLINE_EXCEEDED"


def test_caller_that_leaves_as_its_time_runs_out_counts_as_late() -> None:
    """Its own clock is a little ahead of ours; metrics must not call a timeout a cancellation."""
    cluster, _ = serving()
    late, gone = cluster.call(timeout_s=1), cluster.call(timeout_s=10)
    cluster.now += 0.99
    for caller in (late, gone):
        assert caller.inference
        cluster.core.dispatcher.cancel(caller.inference)
    statuses = {key[2]: child.value for key, child in cluster.core.metrics.requests.children.items()}
    assert statuses == {"OK": 0, "DEADLINE_EXCEEDED": 1, "CANCELLED": 1}


def test_one_timer_serves_all_deadlines() -> None:
    """However deadlines come and go, no second timer is ever pending."""
    cluster, worker = serving(window=1000)
    for step in range(300):
        cluster.call(timeout_s=0.05 if step % 5 == 0 else 30)
        assert len(cluster.timers) == 1
        cluster.advance(0.01)
        worker.answer(*list(worker.work)[:1])


def test_work_of_one_turn_is_cut_into_frames_the_worker_accepts() -> None:
    """Many large requests at once must not break the link for all."""
    cluster = Cluster()
    worker = Worker(cluster, "w1", max_frame_bytes=4200)
    worker.serve(model(), window=100)
    callers = [cluster.call(request(rows=100), turn=False) for _ in range(6)]
    cluster.turn()
    assert len(worker.work) == 1, "a request of 100 rows fills the window"
    for _ in callers:
        worker.answer(*worker.work)
    small = [cluster.call(request(id="x" * 900), turn=False) for _ in range(6)]
    cluster.turn()
    assert worker.frames[-3:] == [2, 2, 2]
    worker.answer(*worker.work)
    assert all(caller.reply == b"ok" for caller in callers + small)


def test_work_of_a_forgotten_version_is_not_sent_again() -> None:
    """The model was unloaded while its worker died: nobody will ever come for the request."""
    cluster, worker = serving()
    agent = cluster.agent(link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_READY))
    caller = cluster.call()
    worker.say(draining=link_pb2.Draining())
    cluster.index(agent)
    worker.die()
    assert repr(caller) == "UNAVAILABLE"


def test_default_deadline_of_the_model_then_of_the_router() -> None:
    """A caller that gives none gets the model's, and without that the router's 30 s."""
    cluster = Cluster()
    worker = Worker(cluster, "w1")
    worker.serve(model(default_timeout_s=2.0), model("other", handle=2))
    assert cluster.call().inference.deadline == cluster.now + 2  # type: ignore[union-attr]
    assert cluster.call(request("other")).inference.deadline == cluster.now + 30  # type: ignore[union-attr]


@pytest.mark.parametrize("moment", ["queued", "at the worker", "answered"])
def test_cancel_touches_nobody_else(moment: str) -> None:
    """All subsets of four callers cancelled at each moment: the others always get their own answers."""
    for cancelled in product([False, True], repeat=4):
        cluster, worker = serving(window=1 if moment == "queued" else 8)
        blocker = cluster.call() if moment == "queued" else None
        callers = [cluster.call(request_id=str(number)) for number in range(4)]

        def answer_all(worker: Worker = worker) -> None:
            while worker.work:
                number = next(iter(worker.work))
                worker.answer(number, text=b"%d" % number)

        if moment == "answered":
            answer_all()
        for caller, gone in zip(callers, cancelled, strict=True):
            if gone:
                assert caller.inference
                cluster.core.dispatcher.cancel(caller.inference)
                cluster.core.dispatcher.cancel(caller.inference)
        cluster.turn()
        answer_all()
        for caller, gone in zip(callers, cancelled, strict=True):
            assert caller.inference
            silent = gone and moment != "answered"
            assert caller.reply == (None if silent else b"%d" % caller.inference.id)
        assert blocker is None or blocker.reply == b"1"
        assert cluster.core.dispatcher.in_flight == 0
        assert repr(cluster.core.catalogue.pool("m")).startswith("<m/1 pending=0 seats=[<w1 m/1 0/")


def test_error_of_one_request_is_its_own() -> None:
    """A worker's refusal reaches the caller with its text; the neighbour is answered."""
    cluster, worker = serving()
    bad, good = cluster.call(), cluster.call()
    worker.refuse(1, Status.INVALID_ARGUMENT, "wrong shape")
    worker.answer(2)
    assert str(bad.error) == "wrong shape"
    assert good.reply == b"ok"


def test_lost_replica_hands_its_work_to_another_once() -> None:
    """Killing a worker loses no request; killing the second answers UNAVAILABLE instead of trying for ever."""
    cluster, first = serving()
    second = Worker(cluster, "w2")
    second.serve(model())
    caller = cluster.call()
    holder, other = (first, second) if first.work else (second, first)
    holder.die()
    assert list(other.work) == [1]
    other.die()
    assert repr(caller) == "UNAVAILABLE"
    assert "lost" in str(caller.error)


def test_work_given_back_unstarted_goes_elsewhere() -> None:
    """A worker that drains gives back what it has not begun."""
    cluster, first = serving()
    caller = cluster.call()
    second = Worker(cluster, "w2")
    second.serve(model())
    first.say(draining=link_pb2.Draining())
    first.refuse(1, Status.UNAVAILABLE, "draining")
    assert list(second.work) == [1]
    second.answer(1)
    assert caller.reply == b"ok"


def test_while_no_replica_is_left_requests_wait_until_their_deadline() -> None:
    """Then they get UNAVAILABLE, just before the caller's own timer would hide the reason."""
    cluster, worker = serving()
    cluster.agent(link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_LOADING, reason="restarting"))
    worker.die()
    caller = cluster.call(timeout_s=1)
    cluster.advance(0.97)
    assert repr(caller) == "waits"
    cluster.advance(0.02)
    assert repr(caller) == "UNAVAILABLE"
    assert "restarting" in str(caller.error)


def test_request_that_waits_is_served_by_the_restarted_worker() -> None:
    """A restart within the deadline is invisible but for the wait."""
    cluster, worker = serving()
    cluster.agent(link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_LOADING))
    worker.die()
    caller = cluster.call(timeout_s=5)
    cluster.advance(2)
    reborn = Worker(cluster, "w1")
    reborn.serve(model())
    reborn.answer(*reborn.work)
    assert caller.reply == b"ok"


def test_removed_version_refuses_what_waits_and_is_forgotten() -> None:
    """An agent that no longer lists a version ends the wait for it."""
    cluster, worker = serving()
    agent = cluster.agent(link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_LOADING))
    worker.die()
    caller = cluster.call(timeout_s=5)
    cluster.index(agent)
    assert repr(caller) == "UNAVAILABLE"
    with pytest.raises(ModelNotFound, match="unknown model 'm'"):
        cluster.call()


def test_replacing_a_version_fails_nobody_who_asked_for_no_version() -> None:
    """What waits for a version that goes is served by the one that takes its place; who named it is told."""
    cluster = Cluster()
    old, new = Worker(cluster, "old"), Worker(cluster, "new")
    agent = cluster.agent(link_pb2.IndexEntry(name="m", version="1", state=link_pb2.STATE_READY))
    old.serve(model(), window=1)
    running, waiting = cluster.call(), cluster.call()
    explicit = cluster.call(request(version="1"))
    new.serve(model(version="2"))
    cluster.index(agent, link_pb2.IndexEntry(name="m", version="2", state=link_pb2.STATE_READY))
    old.say(models=link_pb2.Models())
    assert repr(explicit) == "UNAVAILABLE"
    new.answer(*new.work, text=b"two")
    assert waiting.reply == b"two"
    old.answer(1)
    assert running.reply == b"ok"


def test_drain_refuses_new_and_answers_accepted() -> None:
    """Idle is announced once the last accepted request has been answered."""
    cluster, worker = serving()
    caller = cluster.call()
    idle: list[bool] = []
    cluster.core.dispatcher.drain(lambda: idle.append(True))
    with pytest.raises(Unavailable, match="draining"):
        cluster.call()
    assert not idle
    worker.answer(1)
    assert caller.reply == b"ok"
    assert idle == [True]


def test_statistics_count_requests_rows_and_runs() -> None:
    """What perf_analyzer reads: inferences are rows, executions are runs."""
    cluster, worker = serving(window=8)
    for _ in range(3):
        cluster.call()
    worker.answer(1, 2)
    worker.answer(3)
    statistics = cluster.core.catalogue.pool("m").statistics.model_statistics(cluster.core.catalogue.pool("m").spec)
    assert statistics.inference_count == 3
    assert statistics.execution_count == 2
    assert statistics.inference_stats.success.count == 3
    assert statistics.inference_stats.compute_infer.ns == 3 * 7000
    assert [(entry.batch_size, entry.compute_infer.count) for entry in statistics.batch_stats] == [(1, 1), (2, 1)]


def test_failed_version_says_why_at_once() -> None:
    """Nobody waits for a model whose bundle is broken."""
    cluster = Cluster()
    entry = link_pb2.IndexEntry(name="m", version="3", state=link_pb2.STATE_FAILED, reason="digest differs")
    cluster.agent(entry)
    with pytest.raises(Unavailable, match="digest differs"):
        cluster.call()
    assert [(one.version, one.state) for one in cluster.core.catalogue.index()] == [("3", State.FAILED)]
