"""One tenant's flood beside another's few requests: the router and a worker's batching together, in a test's time."""

from collections.abc import Iterable
from random import Random

import pytest

from router.settings import Fairness
from serving.errors import Shed
from serving.link.framing import cut
from serving.policy.batching import Limits, Run, Snapshot, Waiting, decide
from serving.policy.cost import RunCost
from serving.policy.turns import Turns
from tests.router.cluster import Caller, Cluster, Worker, model

BASE_S, ROW_S, MOST_ROWS, WINDOW = 0.004, 0.001, 8, 16
SECONDS = 4.0
CAPACITY = MOST_ROWS / (BASE_S + MOST_ROWS * ROW_S)


class Numbered(Waiting):
    __slots__ = ("number",)
    number: int


class Batching(Worker):
    """A worker that batches by the policy that real workers have, and takes `BASE_S + rows * ROW_S` a run."""

    def __init__(self, cluster: Cluster, name: str = "w") -> None:
        self.waiting: list[Numbered] = []
        self.running: list[Numbered] = []
        self.turns: Turns | None = None
        self.free_at = float("inf")
        self.runs: list[str] = []
        self.most_rows = 0
        self.cost = RunCost()
        for rows in (1, MOST_ROWS) * 20:
            self.cost.observe(rows, BASE_S + ROW_S * rows)
        super().__init__(cluster, name)
        self.serve(model(), window=WINDOW)

    def _receive(self, buffers: Iterable[bytes]) -> None:
        for envelope, payload in self.reader.feed(b"".join(buffers)):
            work = envelope.work
            if not work.ids:
                continue
            tenants = work.tenants or [""] * len(work.ids)
            weights = work.weights or [1.0] * len(work.ids)
            for number, message, left_us, tenant, weight in zip(
                work.ids, cut(payload, work.sizes), work.timeout_us, tenants, weights, strict=True
            ):
                now = self.cluster.now
                deadline = now + left_us / 1e6
                entry = Numbered(seq=number, rows=1, deadline=deadline, arrived=now, tenant=tenant, weight=weight)
                entry.number = number
                self.waiting.append(entry)
                self.work[number] = message
                self.turns = Turns(MOST_ROWS) if tenant and self.turns is None else self.turns
        self.most_rows = max(self.most_rows, len(self.waiting) + len(self.running))

    def play(self, until: float) -> None:
        """Run what waits, batch after batch."""
        while True:
            if not self.running:
                action = decide(Snapshot(self.waiting, cost=self.cost, turns=self.turns), Limits(MOST_ROWS), 0.0)
                if isinstance(action, Run):
                    self.running = action.batch
                    self.waiting = [entry for entry in self.waiting if entry not in self.running]
                    if self.turns is not None:
                        self.turns.ran(self.running)
                    self.runs.append("".join(sorted(entry.tenant[:1] or "-" for entry in self.running)))
                    self.free_at = self.cluster.now + BASE_S + ROW_S * len(self.running)
            if not self.running or self.free_at > until:
                self.cluster.advance(until - self.cluster.now)
                return
            self.cluster.advance(self.free_at - self.cluster.now)
            done, self.running = self.running, []
            self.answer(*[entry.number for entry in done])


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    random, times, at = Random(seed), [], 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        times.append(at)
    return times


class Sent:
    """What one tenant's requests came to: seconds of each that was answered, how many were refused."""

    def __init__(self) -> None:
        self.took_s: list[float] = []
        self.refused = 0

    def p99_s(self) -> float:
        return sorted(self.took_s)[int(0.99 * len(self.took_s))]


def story(flood: str | None) -> tuple[Sent, Sent, Batching]:
    """`quiet` at a third of the capacity, and a flood of twice the capacity under this name (None: no flood)."""
    cluster = Cluster()
    worker = Batching(cluster)
    quiet, noisy, start = Sent(), Sent(), cluster.now
    times = [(at, "quiet", quiet) for at in arrivals(CAPACITY / 3, SECONDS, 2)]
    if flood is not None:
        times += [(at, flood, noisy) for at in arrivals(2 * CAPACITY, SECONDS, 3)]
    for at, tenant, sent in sorted(times, key=lambda one: one[0]):
        worker.play(start + at)
        try:
            caller = cluster.call(timeout_s=0.15, tenant=tenant)
        except Shed:
            sent.refused += 1
        else:
            _count(caller, sent, cluster)
    worker.play(start + SECONDS + 0.2)
    return quiet, noisy, worker


def _count(caller: Caller, sent: Sent, cluster: Cluster) -> None:
    inference, began = caller.inference, cluster.now
    assert inference is not None
    inference.on_reply = lambda _: sent.took_s.append(cluster.now - began)


@pytest.mark.parametrize("flood", ["noisy", ""])
def test_a_request_waits_for_the_run_in_hand_and_is_in_the_next(flood: str) -> None:
    """Whether or not the flood says its name; shared runs are shorter by a row, for a twentieth of the rate at most."""
    alone, _, _ = story(None)
    beside, noisy, worker = story(flood)
    assert beside.refused == 0
    assert len(beside.took_s) == len(alone.took_s)
    assert beside.p99_s() <= 2 * (BASE_S + (MOST_ROWS - 1) * ROW_S)
    assert beside.p99_s() <= 1.55 * alone.p99_s()
    assert worker.most_rows <= 2 * WINDOW
    assert (len(beside.took_s) + len(noisy.took_s)) / SECONDS >= 0.92 * CAPACITY


def test_a_flood_under_ones_own_name_is_ones_own() -> None:
    """The window is no larger for one tenant, and what would be late is refused."""
    quiet, _, worker = story("quiet")
    assert quiet.p99_s() > 0.1
    assert worker.most_rows <= WINDOW


def test_weights_hold_in_the_worker_too() -> None:
    """Two floods, one of weight 3: three of four rows are its own."""
    cluster = Cluster(fairness=Fairness(weights={"heavy": 3.0}))
    worker = Batching(cluster)
    for _ in range(80):
        cluster.call(tenant="heavy")
        cluster.call(tenant="light")
    worker.play(cluster.now + 0.15)
    assert "".join(worker.runs[2:10]).count("h") == 42  # of 56
