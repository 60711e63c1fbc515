"""Whatever happens to identical requests, in whatever order: each caller gets exactly one answer, and it is its own."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protos import inference_pb2, link_pb2
from router.settings import Limits
from serving.errors import Shed
from serving.status import Status
from tests.router.cluster import Caller, Cluster, Worker
from tests.router.test_sharing import asking, sharing_model, with_parameter

# What may go wrong with a caller by itself, and what anyone may be told.
_OWN_TIME = {Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE}


class _Call:
    """A request, what it asked, and since when."""

    def __init__(self, caller: Caller, value: int, identity: str, contents: set[str], deadline: float | None) -> None:
        self.caller = caller
        self.value = value
        self.identity = identity
        self.contents = contents
        """The contents that were served at some time since it was sent."""
        self.deadline = deadline
        self.cancelled = False
        self.faults: set[str] = set()
        """What workers said of requests like it since it was sent."""

    @property
    def over(self) -> bool:
        return self.caller.reply is not None or self.caller.error is not None or self.cancelled


class Chaos(RuleBasedStateMachine):
    """A worker's answer names the content that it serves and the value that it was asked for; nothing else may decide
    what a caller gets but its own id. `Caller` itself fails on a second answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(Limits(max_pending=12, max_in_flight=30))
        self.calls: list[_Call] = []
        self.workers: dict[Worker, str] = {}
        self.names = 0
        self.serve("c1", 2)

    @property
    def waiting(self) -> list[_Call]:
        return [call for call in self.calls if not call.over]

    @rule(content=st.sampled_from(["c1", "c1", "c2"]), window=st.integers(1, 3))
    @precondition(lambda self: len(self.workers) < 3)
    def serve(self, content: str, window: int) -> None:
        self.names += 1
        worker = Worker(self.cluster, f"w{self.names}")
        self.workers[worker] = content
        for call in self.waiting:
            call.contents.add(content)
        worker.serve(sharing_model(content, ttl_s=30.0), window=window)

    @rule(
        value=st.integers(0, 2),
        identity=st.sampled_from(["", "a", "bb"]),
        timeout_s=st.sampled_from([None, 1.0, 3.0]),
        tenant=st.sampled_from(["", "", "t"]),
        extra=st.sampled_from(["", "", "priority", "cache", "timeout"]),
        turn=st.booleans(),
    )
    def ask(self, value: int, identity: str, timeout_s: float | None, tenant: str, extra: str, turn: bool) -> None:
        message = asking(value, id=identity)
        if extra == "cache":
            message = with_parameter(message, "cache", bool_param=False)
        elif extra:
            message = with_parameter(message, extra, int64_param=1 if extra == "priority" else 2_000_000)
        try:
            caller = self.cluster.call(message, timeout_s=timeout_s, tenant=tenant, turn=turn)
        except Shed:
            return
        deadline = None if caller.inference is None else caller.inference.deadline
        self.calls.append(_Call(caller, value, identity, set(self.workers.values()), deadline))

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.work]

    @rule(draw=st.data(), count=st.integers(1, 2))
    @precondition(lambda self: self._busy())
    def answer(self, draw: st.DataObject, count: int) -> None:
        worker = draw.draw(st.sampled_from(self._busy()))
        for number in list(worker.work)[:count]:
            asked = inference_pb2.ModelInferRequest.FromString(worker.work[number])
            response = inference_pb2.ModelInferResponse(id=asked.id)
            response.raw_output_contents.append(f"{self.workers[worker]} {asked.raw_input_contents[0][0]}".encode())
            worker.answer(number, text=response.SerializeToString())

    @rule(
        draw=st.data(),
        status=st.sampled_from(
            [Status.INVALID_ARGUMENT, Status.INTERNAL, Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED]
        ),
    )
    @precondition(lambda self: self._busy())
    def refuse(self, draw: st.DataObject, status: Status) -> None:
        worker = draw.draw(st.sampled_from(self._busy()))
        number = draw.draw(st.sampled_from(list(worker.work)))
        inference = worker.replica.in_flight.get(number)
        if status in (Status.DEADLINE_EXCEEDED, Status.CANCELLED) and inference is not None and not inference.answered:
            share = inference.share
            if share is None or not share.inherited:
                return  # a worker says so of nobody whose time is not over
        asked = inference_pb2.ModelInferRequest.FromString(worker.work[number]).raw_input_contents[0][0]
        for call in self.waiting:
            if call.value == asked:
                call.faults.add(status.name)
        worker.refuse(number, status, status.name)

    @rule(draw=st.data())
    @precondition(lambda self: self.waiting)
    def cancel(self, draw: st.DataObject) -> None:
        call = draw.draw(st.sampled_from(self.waiting))
        call.cancelled = True
        assert call.caller.inference
        self.cluster.core.dispatcher.cancel(call.caller.inference)
        self.cluster.turn()

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.01, 31.0]))
    def advance(self, seconds: float) -> None:
        self.cluster.advance(seconds)

    @rule(draw=st.data(), quietly=st.booleans())
    @precondition(lambda self: self.workers)
    def lose(self, draw: st.DataObject, quietly: bool) -> None:
        worker = draw.draw(st.sampled_from(list(self.workers)))
        for call in self.waiting:
            call.faults.add("UNAVAILABLE")
        if quietly:
            worker.say(draining=link_pb2.Draining())
            while worker.work:
                number = next(iter(worker.work))
                worker.refuse(number, Status.UNAVAILABLE, "UNAVAILABLE")
        del self.workers[worker]
        worker.die()

    @invariant()
    def every_answer_is_the_callers_own(self) -> None:
        for call in self.calls:
            caller = call.caller
            if call.cancelled:
                continue
            if caller.reply is not None:
                response = inference_pb2.ModelInferResponse.FromString(caller.reply)
                content, value = response.raw_output_contents[0].decode().split()
                assert response.id == call.identity
                assert int(value) == call.value
                assert content in call.contents
            elif caller.error is not None and caller.error.status.name not in call.faults:
                assert caller.error.status in _OWN_TIME
                assert call.deadline is not None
                assert self.cluster.now >= call.deadline - 0.1

    @invariant()
    def nothing_is_forgotten_or_counted_twice(self) -> None:
        dispatcher = self.cluster.core.dispatcher
        assert dispatcher.in_flight == len(self.waiting)
        for pool in self.cluster.core.catalogue.pools():
            sharing = pool.sharing
            for leader in sharing.flights.values() if sharing else ():
                assert not leader.answered
                assert leader in pool.queue or leader.seat is not None

    def teardown(self) -> None:
        """All that still wait are answered in the end."""
        if not self.workers:
            self.serve("c1", 3)
        self.cluster.turn()
        for _ in range(200):
            if not self._busy():
                break
            worker = self._busy()[0]
            number = next(iter(worker.work))
            asked = inference_pb2.ModelInferRequest.FromString(worker.work[number])
            text = f"{self.workers[worker]} {asked.raw_input_contents[0][0]}".encode()
            worker.answer(number, text=inference_pb2.ModelInferResponse(raw_output_contents=[text]).SerializeToString())
        assert not self.waiting
        assert self.cluster.core.dispatcher.in_flight == 0
        assert all(not pool.sharing.flights for pool in self.cluster.core.catalogue.pools() if pool.sharing)


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
