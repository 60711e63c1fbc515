"""Open-loop load: a request is sent when it is due, whether or not earlier ones have been answered.

Arrivals are a Poisson process with a seed; latency counts from when a request was *meant* to be sent, so neither a
generator nor a server that falls behind can hide it ("coordinated omission", Gil Tene). h2load, wrk and vegeta have no
such arrivals, and perf_analyzer, which has them, counts from when it did send. `in_flight` above 0 makes it a closed
loop instead: that is how a server's capacity is found with this very client.

It runs in a process of its own (`generate`), a single thread on epoll, about 12 us of CPU a request, and it says how
much CPU it took and how late it was itself: sent against due. A request that finds no connection with room waits in
the generator, its latency running; one whose deadline is over by then is not sent any more.
"""

import ctypes
import gc
import pickle
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from loadtests.bench.wire import H1, H2, Broken, Message

GRACE_S = 2.0
"""For answers still out when the last request has been sent, beyond the deadline."""
_LONGEST_WAIT_S = 0.05
_PR_SET_TIMERSLACK = 29


@dataclass(frozen=True)
class Job:
    """`rate`: requests a second on average. What is due in the first `warm_up_s` is sent, but not counted."""

    message: Message
    connections: int
    seconds: float
    rate: float = 0.0
    in_flight: int = 0
    deadline_s: float = 5.0
    warm_up_s: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        if (self.rate > 0) == (self.in_flight > 0):
            raise ValueError("rate makes an open loop, in_flight a closed one: give one of them")


@dataclass(frozen=True)
class Result:
    """Of the counted requests. `latencies_s`: of those answered well, from when they were due, sorted; `refused`:
    answered otherwise; `unsent`: never sent, or not answered at all. `sent`: all, the warm-up's too. `late_s`: sent
    after due, sorted. `cpu_us`: the generator's own, a request due; `busy`: its share of one core."""

    seconds: float
    due: int
    latencies_s: Sequence[float]
    refused: int
    unsent: int
    sent: int
    late_s: Sequence[float]
    cpu_us: float
    busy: float
    deadline_s: float

    @property
    def rate(self) -> float:
        """Good answers a second, late ones too."""
        return len(self.latencies_s) / self.seconds

    @property
    def goodput(self) -> float:
        """Good answers within the deadline, a second."""
        return sum(latency <= self.deadline_s for latency in self.latencies_s) / self.seconds

    def quantile_s(self, share: float) -> float:
        """Of the latency; NaN of nothing."""
        return quantile(self.latencies_s, share)


def quantile(ordered: Sequence[float], share: float) -> float:
    """NaN of nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which to send."""
    random, at = Random(seed), 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        yield at


class Run:
    """One job under way."""

    def __init__(self, job: Job) -> None:
        self._job = job
        kind = H1 if job.message.http1 else H2
        self._connections: list[H1 | H2] = []
        try:
            for _ in range(job.connections):
                self._connections.append(kind(job.message))
        except (Broken, OSError):
            self.close()
            raise
        self._poll = select.epoll()
        self._by_fd = {each.socket.fileno(): each for each in self._connections}
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._queue: deque[int] = deque()
        self._due: list[float] = []
        self._sent: list[float] = []
        self._done: list[float] = []
        self._good: list[bool] = []
        self._open = 0
        self._next = 0

    def finish(self) -> Result:
        """Raises Broken if the server breaks off. The connections are closed."""
        try:
            return self._finished()
        finally:
            self._poll.close()
            self.close()

    def close(self) -> None:
        for each in self._connections:
            each.close()

    def _finished(self) -> Result:
        job = self._job
        began_cpu, began = time.process_time(), time.perf_counter()
        self._end = began + job.seconds
        if job.in_flight:
            for _ in range(job.in_flight):
                self._queue.append(self._new(began))
            self._serve(iter(()), began)
        else:
            self._serve(arrivals(job.rate, job.seconds, job.seed), began)
        cpu_s, took_s = time.process_time() - began_cpu, time.perf_counter() - began
        return self._result(began, cpu_s, took_s)

    def _serve(self, offsets: Iterator[float], began: float) -> None:
        upcoming = next(offsets, None)
        deadline_s, clock, end = self._job.deadline_s, time.perf_counter, self._end
        while True:
            now = clock()
            while upcoming is not None and began + upcoming <= now:
                self._queue.append(self._new(began + upcoming))
                upcoming = next(offsets, None)
            if self._queue:
                self._send(now)
            if upcoming is None and now >= end:
                if self._job.in_flight:
                    self._queue.clear()
                if (not self._open and not self._queue) or now > end + deadline_s + GRACE_S:
                    return
            wait_s = _LONGEST_WAIT_S if upcoming is None else began + upcoming - clock()
            if wait_s > 0:
                # epoll's own timeout counts milliseconds, select's microseconds.
                select.select((self._poll,), (), (), min(wait_s, _LONGEST_WAIT_S))
            for fd, _ in self._poll.poll(0):
                self._receive(self._by_fd[fd])

    def _new(self, due: float) -> int:
        self._due.append(due)
        self._sent.append(0.0)
        self._done.append(0.0)
        self._good.append(False)
        return len(self._due) - 1

    def _send(self, now: float) -> None:
        """What is due, to the connections in turn; each is written to once."""
        queue, connections, touched = self._queue, self._connections, []
        deadline_s = self._job.deadline_s
        full = 0
        while queue and full < len(connections):
            if now - self._due[queue[0]] > deadline_s:
                queue.popleft()
                continue
            connection = connections[self._next]
            self._next = (self._next + 1) % len(connections)
            if connection.room <= 0:
                full += 1
                continue
            full = 0
            number = queue.popleft()
            connection.begin(number)
            self._sent[number] = now
            self._open += 1
            touched.append(connection)
        for connection in touched:
            connection.flush()

    def _receive(self, connection: H1 | H2) -> None:
        answered = connection.received()
        now = time.perf_counter()
        again = self._job.in_flight and now < self._end
        for number, good in answered:
            self._done[number] = now
            self._good[number] = good
            self._open -= 1
            if again:
                self._queue.append(self._new(now))
        if connection.waiting:
            connection.flush()

    def _result(self, began: float, cpu_s: float, took_s: float) -> Result:
        first, last = began + self._job.warm_up_s, self._end
        counted = [number for number, due in enumerate(self._due) if first <= due < last]
        due, sent, done = self._due, self._sent, self._done
        good = [number for number in counted if self._good[number]]
        answered = sum(1 for number in counted if done[number])
        return Result(
            seconds=last - first,
            due=len(counted),
            latencies_s=sorted(done[number] - due[number] for number in good),
            refused=answered - len(good),
            unsent=len(counted) - answered,
            sent=sum(1 for at in sent if at),
            late_s=sorted(sent[number] - due[number] for number in counted if sent[number]),
            cpu_us=cpu_s / max(len(due), 1) * 1e6,
            busy=cpu_s / took_s,
            deadline_s=self._job.deadline_s,
        )


def generate(job: Job) -> Result:
    """Run it in a process of its own. Raises RuntimeError with its words if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.generator"],
        input=pickle.dumps(job),
        capture_output=True,
        timeout=job.seconds + job.deadline_s + GRACE_S + 60,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the load generator failed: {ran.stderr.decode(errors='replace').strip()[-500:]}")
    result: Result = pickle.loads(ran.stdout)
    return result


def main() -> int:
    """A pickled Job on standard input, a pickled Result on standard output: the parent is ours."""
    job: Job = pickle.loads(sys.stdin.buffer.read())
    if sys.platform == "linux":
        # Timers are late by 50 us otherwise.
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()
    try:
        result = Run(job).finish()
    except (Broken, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(pickle.dumps(result))
    return 0


if __name__ == "__main__":
    # By its own name: what is pickled here is read by a process that knows the module by that name only.
    from loadtests.bench.generator import main as named

    sys.exit(named())
