"""Too much work: late binding to unequal replicas, refusals in time, and one tenant's flood."""

import pytest

from protos import inference_pb2, link_pb2
from router.refusals import StandingShed
from router.settings import Admission, Fairness, Limits
from serving.errors import InvalidRequest, Shed
from tests.router.cluster import Caller, Cluster, Worker, model, request


class Paced:
    """A worker that runs one request at a time, `run_s` each, in a time that the test lets pass."""

    def __init__(self, cluster: Cluster, name: str, run_s: float, window: int, **fields: object) -> None:
        self.worker = Worker(cluster, name)
        self.worker.serve(model(**fields), window=window)
        self.run_s = run_s
        self.free_at = float("inf")
        self.idle_s = 0.0
        self.done = 0

    def start(self, now: float) -> None:
        if self.free_at == float("inf") and self.worker.work:
            self.free_at = now + self.run_s


def play(cluster: Cluster, *workers: Paced, until: float) -> list[str]:
    """Let time pass from result to result; a line for each says who answered what, and what waits."""
    lines = []
    while True:
        for one in workers:
            one.start(cluster.now)
        turn = min(workers, key=lambda one: one.free_at)
        if turn.free_at > until:
            return lines
        idle = [one for one in workers if one.free_at == float("inf")]
        for one in idle:
            one.idle_s += turn.free_at - cluster.now
        cluster.advance(turn.free_at - cluster.now)
        turn.free_at = float("inf")
        number = next(iter(turn.worker.work))
        turn.worker.answer(number)
        turn.done += 1
        lines.append(
            f"{cluster.now - 100:.3f} {turn.worker.replica.name} {number} pending={cluster.core.status().pending}"
        )


def test_two_replicas_of_different_speed_never_idle_while_work_waits() -> None:
    """The fast one takes four requests for each of the slow one; both end within one slow run of each other."""
    cluster = Cluster()
    fast, slow = Paced(cluster, "fast", 0.01, 2), Paced(cluster, "slow", 0.045, 1)
    callers = [cluster.call() for _ in range(12)]
    assert play(cluster, fast, slow, until=200.0) == [
        "0.010 fast 1 pending=8",
        "0.020 fast 3 pending=7",
        "0.030 fast 4 pending=6",
        "0.040 fast 5 pending=5",
        "0.045 slow 2 pending=4",
        "0.050 fast 6 pending=3",
        "0.060 fast 7 pending=2",
        "0.070 fast 9 pending=1",
        "0.080 fast 10 pending=0",
        "0.090 slow 8 pending=0",
        "0.090 fast 11 pending=0",
        "0.100 fast 12 pending=0",
    ]
    assert all(caller.reply == b"ok" for caller in callers)
    assert (fast.idle_s, slow.idle_s) == pytest.approx((0.0, 0.01))  # when nothing waits any more


def saturated(timeout_s: float = 30.0, **fields: object) -> tuple[Cluster, Paced]:
    """A replica of 100 requests a second that has shown its pace under load, and a queue of 50."""
    cluster = Cluster()
    worker = Paced(cluster, "w", 0.01, 1, **fields)
    for _ in range(56):
        cluster.call(timeout_s=timeout_s)
    play(cluster, worker, until=cluster.now + 0.0501)
    assert cluster.core.status().pending == 50
    return cluster, worker


def test_what_cannot_meet_its_deadline_is_refused_at_once_with_a_delay() -> None:
    """Half a second waits: 300 ms are refused with a delay of the difference, 900 ms are admitted and answered."""
    cluster, worker = saturated(timeout_s=0.34)
    with pytest.raises(Shed, match=r"about 0\.52 s and its deadline allows 0\.3 s") as refused:
        cluster.call(timeout_s=0.3)
    assert refused.value.retry_after_s == pytest.approx(0.22, abs=0.005)
    patient = cluster.call(timeout_s=0.9)
    play(cluster, worker, until=cluster.now + 0.9)
    assert patient.reply == b"ok"


def test_an_urgent_request_is_measured_by_what_is_ahead_of_it() -> None:
    """The 50 that wait have 30 s each; one with 100 ms goes first, and is admitted."""
    cluster, worker = saturated()
    for _ in range(5):
        cluster.call(timeout_s=0.1)
    with pytest.raises(Shed):
        [cluster.call(timeout_s=0.1) for _ in range(10)]
    assert len(play(cluster, worker, until=cluster.now + 0.1)) == 9


def test_the_slo_counts_where_no_deadline_is_given() -> None:
    """The error names it; a caller that gives a longer deadline is served."""
    cluster, _ = saturated(slo_latency_p99_s=2.0)
    with pytest.raises(Shed, match=r"slo\.latency_p99_s of the model allows 2 s"):
        [cluster.call() for _ in range(200)]
    cluster.call(timeout_s=10.0)


def test_no_evidence_no_refusal() -> None:
    """A router that has seen no batch under load admits what it cannot judge."""
    cluster = Cluster()
    Worker(cluster, "w").serve(model(), window=1)
    for _ in range(100):
        cluster.call(timeout_s=0.001)


def test_admission_can_be_turned_off() -> None:
    """Then only the bounds on what waits are left."""
    cluster = Cluster(admission=Admission(enabled=False))
    worker = Paced(cluster, "w", 0.01, 1)
    for _ in range(56):
        cluster.call()
    play(cluster, worker, until=cluster.now + 0.05)
    cluster.call(timeout_s=0.001)


def answered(callers: list[Caller]) -> int:
    return sum(caller.reply is not None for caller in callers)


def test_goodput_at_twice_the_capacity() -> None:
    """200 requests a second with 100 ms each at a replica that does 100: nearly every run is for an answer in time."""
    cluster = Cluster()
    worker = Paced(cluster, "w", 0.01, 2)
    callers, refused, start = [], 0, cluster.now
    for step in range(800):
        play(cluster, worker, until=start + step * 0.005)
        cluster.advance(start + step * 0.005 - cluster.now)
        try:
            callers.append(cluster.call(timeout_s=0.1))
        except Shed:
            refused += 1
    play(cluster, worker, until=cluster.now + 0.2)
    assert answered(callers) >= 0.95 * 400
    assert worker.done - answered(callers) <= 2
    assert refused + len(callers) == 800


def test_a_flood_of_one_tenant_leaves_another_its_turn() -> None:
    """With 50 of the flood waiting, another tenant's request is the next but one to run."""
    cluster, worker = saturated(timeout_s=0.14)
    cluster.call(tenant="quiet", timeout_s=0.1)
    quiet = cluster.call(tenant="quiet", timeout_s=0.1)
    play(cluster, worker, until=cluster.now + 0.0501)
    assert quiet.reply == b"ok"
    with pytest.raises(Shed):
        cluster.call(timeout_s=0.1)


def test_a_flood_cannot_fill_the_queue_for_others() -> None:
    """A tenant holds its share of max_pending at most; the error says so."""
    cluster = Cluster(Limits(max_pending=10), fairness=Fairness(weights={"gold": 4.0}))
    Worker(cluster, "w").serve(model(), window=1)
    for _ in range(11):
        cluster.call()
    with pytest.raises(Shed, match=r"max_pending = 10 is reached;"):
        cluster.call()
    for _ in range(8):
        cluster.call(tenant="gold")
    with pytest.raises(Shed, match=r"max_pending = 10 is reached, this tenant's part of it is 80%"):
        cluster.call(tenant="gold")
    with pytest.raises(Shed, match="part of it is 20%"):
        cluster.call()


def test_the_tenant_may_be_a_parameter() -> None:
    """Of the request, where no header names it; it has to be a text."""
    cluster = Cluster()
    message = inference_pb2.ModelInferRequest.FromString(request())
    message.parameters["tenant"].string_param = "x" * 200
    Worker(cluster, "w").serve(model())
    inference = cluster.call(message.SerializeToString()).inference
    assert inference is not None
    assert inference.tenant == "x" * 128
    message.parameters["tenant"].int64_param = 3
    with pytest.raises(InvalidRequest, match="must be a text"):
        cluster.call(message.SerializeToString())


def refused(cluster: Cluster, timeout_s: float = 0.1) -> StandingShed:
    """What the next request is told, after as many as are admitted."""
    with pytest.raises(StandingShed) as caught:
        [cluster.call(timeout_s=timeout_s) for _ in range(100)]
    return caught.value


def test_a_refusal_stands_until_work_is_finished() -> None:
    """Asked again it says the same without being judged; after a result, the next request like it is admitted."""
    cluster, worker = saturated()
    standing = refused(cluster).standing
    first = standing.refusal(cluster.now)
    assert first is not None
    assert standing.refusal(cluster.now) is first
    play(cluster, worker, until=cluster.now + 0.03)
    assert standing.refusal(cluster.now) is None


def test_the_delay_of_a_standing_refusal_follows_the_queue() -> None:
    """Once more urgent requests wait as well, whoever is turned away is told to stay away for longer."""
    cluster, _ = saturated()
    early = refused(cluster)
    for _ in range(5):
        cluster.call(timeout_s=10.0)
    cluster.core.catalogue.pool("m").changes.count += 1
    late = early.standing.refusal(cluster.now)
    assert late is not None
    assert late.retry_after_s >= early.retry_after_s


def test_a_cancelled_request_makes_room_at_once() -> None:
    """What waits no longer is no reason to refuse."""
    cluster, _ = saturated()
    before = [cluster.call(timeout_s=0.1) for _ in range(2)]
    standing = refused(cluster).standing
    assert standing.refusal(cluster.now) is not None
    for one in before:
        assert one.inference is not None
        cluster.core.dispatcher.cancel(one.inference)
    assert standing.refusal(cluster.now) is None


def test_repetitions_count_as_shed() -> None:
    """The metric does not tell whom a decision was made for from whom it was repeated to."""
    cluster, _ = saturated()
    standing = refused(cluster).standing
    counter = cluster.core.metrics.shed.labels("late")
    before = counter.read()
    standing.repeat()
    assert counter.read() == before + 1


def test_nothing_stands_where_answers_are_shared() -> None:
    """The next request may be one whose answer was kept."""
    cluster = Cluster(Limits(max_pending=1))
    cache = link_pb2.ResponseCache(enabled=True)
    Worker(cluster, "w").serve(model(response_cache=cache, content="c"), window=1)
    for rows in (1, 2):
        cluster.call(request(rows=rows))
    with pytest.raises(Shed) as caught:
        cluster.call(request(rows=3))
    assert type(caught.value) is Shed
